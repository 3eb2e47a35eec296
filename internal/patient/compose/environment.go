package compose

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"opsbot/internal/patient/api"
)

//go:embed environment.yaml.tmpl
var environmentText string

var environmentTemplate = template.Must(template.New("").Parse(environmentText))

// Environment returns the patient as an environment of opsbot.yaml: the entry
// that stands below environments, with every connection that runbooks use. The
// secrets that it refers to are written into the project's folder.
func (p *Patient) Environment(name string) (string, error) {
	dir := filepath.Join(p.dir, "secrets")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	secrets := map[string]string{"api-token": p.Token()}
	for _, role := range []string{"opsbot_ro", "opsbot_maint", "opsbot_restore", "postgres"} {
		secrets[role] = p.Password(role)
	}
	for file, text := range secrets {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	var b bytes.Buffer
	err := environmentTemplate.Execute(&b, map[string]any{
		"Name": name, "Project": p.name, "File": p.File(), "EnvFile": p.EnvFile(), "Dir": p.dir, "MaxReplicas": maxReplicas, "Docker": p.engine, "Secrets": dir,
		"Redis": p.RedisAddr(), "URL": p.URL(), "Prometheus": p.PrometheusURL(), "Backups": p.Backups(),
		"Postgres": "127.0.0.1:" + p.env["DB_PORT"], "Green": p.env["GREEN_PORT"], "StatusPath": api.StatusPath, "Users": strings.Join(api.Users(), ","),
	})
	if err != nil {
		return "", fmt.Errorf("write the environment: %w", err)
	}
	return b.String(), nil
}
