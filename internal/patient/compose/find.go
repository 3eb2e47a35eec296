package compose

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"opsbot/internal/fault"
)

// DemoProject is the patient of `opsbot demo --docker`.
const DemoProject = "opsbot-demo"

// Find returns a patient that another program started and will close.
func Find(ctx context.Context, project string) (*Patient, error) {
	if err := Check(ctx); err != nil {
		return nil, err
	}
	out, err := docker(ctx, "ps", "-a", "--filter", "label=opsbot.patient="+project,
		"--format", `{{.Label "com.docker.compose.project.working_dir"}}`)
	if err != nil {
		return nil, failed("Listing the patient's containers", err)
	}
	dir, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if dir == "" {
		return nil, fault.New(fault.NotFound, "There is no patient named %s.", project).
			Hinted("`opsbot demo --docker` starts one.")
	}
	p := &Patient{name: project, dir: dir, env: map[string]string{}}
	if p.engine, err = engineURL(ctx); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil {
		return nil, fmt.Errorf("read the patient's variables: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p.env[name] = value
		}
	}
	p.secret, p.base = p.env["JWT_SECRET_KEY"], p.env["DB_IMAGE"]
	p.program, err = programOf(Options{})
	return p, err
}
