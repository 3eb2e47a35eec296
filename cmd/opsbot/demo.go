package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"opsbot/bot"
	"opsbot/internal/config"
	"opsbot/internal/patient"
	"opsbot/internal/patient/compose"
	"opsbot/internal/slacksim"
	"opsbot/internal/slacksim/page"
)

func newDemo(c *common) *cobra.Command {
	var addr string
	var docker bool
	var project string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything at work in a browser, on this machine alone",
		Long: `Start a simulated Slack workspace with a page for people, a small system that
has fallen ill, and the bot, all in one process on loopback. Nothing is sent
anywhere, and everything is gone at the end.

With --docker the system is a Docker Compose project, with PostgreSQL, Redis,
nginx and Prometheus in containers: see docs/patient.md.`,
		Args: args(cobra.NoArgs, "[--addr 127.0.0.1:8765] [--docker]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !docker {
				project = ""
			}
			return demo(cmd.Context(), c, addr, project)
		},
	}
	cmd.Flags().BoolVar(&docker, "docker", false, "run the patient in containers; needs Docker with Compose")
	cmd.Flags().StringVar(&project, "project", compose.DemoProject, "name of the Compose project, for a second demo beside the first")
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:8765", "address of the page; loopback only")
	return cmd
}

// demoConfig is the configuration that the demo's bot is started with.
//
//go:embed demo.yaml.tmpl
var demoConfig string

// demo sets up a workspace and a patient, writes a configuration for them, and
// then serves exactly as `opsbot serve --config` would. project is the Compose
// project that the patient is; "" is a patient in this process.
func demo(ctx context.Context, c *common, addr, project string) (ended error) {
	if err := onlyLoopback(addr); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "opsbot-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	defer func() { ended = errors.Join(ended, os.RemoveAll(dir)) }()
	logFile, err := os.Create(filepath.Join(dir, "opsbot.log"))
	if err != nil {
		return fmt.Errorf("open the demo's log: %w", err)
	}
	defer logFile.Close()
	log := newLog(logFile, config.Log{Format: "text"})

	o := patient.Options{Log: log}
	var environment, containers string
	if project != "" {
		body, err := compose.Start(ctx, compose.Options{Project: project, Progress: func(text string) {
			fmt.Fprintln(c.std.Err, text)
		}})
		if err != nil {
			return err
		}
		defer func() { ended = errors.Join(ended, body.Close()) }()
		if environment, err = body.Environment("demo"); err != nil {
			return err
		}
		o.Outside, containers = body.Outside(), about(body)
	}
	ill, err := patient.Start(ctx, o)
	if err != nil {
		return err
	}
	defer ill.Close()
	w, err := openWorkspace(addr, slacksim.Options{Manifest: bot.Manifest, Team: "demo", Log: log}, page.Options{
		Title: "opsbot demo", Panel: ill.Panel(), PanelTitle: "The patient", Log: log,
	})
	if err != nil {
		return err
	}
	file, err := writeDemoConfig(dir, w, ill, environment)
	if err != nil {
		return err
	}
	// The caller's own variables are about another Slack.
	cfg, err := config.Load(file, func(string) string { return "" })
	if err != nil {
		return err
	}
	quiet := *c
	quiet.std.Err = logFile
	fmt.Fprint(c.std.Out, greeting(w.url(), file, ill.Engine(), containers))
	return serveAll(ctx,
		service{"patient", ill.Serve},
		service{"slack simulator", w.Serve},
		service{"opsbot", func(ctx context.Context) error { return serve(ctx, &quiet, cfg) }},
	)
}

// writeDemoConfig puts opsbot.yaml and what it refers to into dir. environment
// is an entry of environments; "" is one of the patient in the process, which is
// nil where the environment needs nothing of it.
func writeDemoConfig(dir string, w *workspace, ill *patient.Patient, environment string) (file string, err error) {
	account := "nobody"
	if u, err := user.Current(); err == nil {
		account = u.Username
	}
	values := map[string]string{"Account": account, "Slack": w.url() + "/api/", "Environment": environment}
	files := map[string]string{"bot-token": w.sim.BotToken(), "app-token": w.sim.AppToken()}
	if ill != nil {
		values["Redis"], values["API"] = ill.RedisURL(), ill.APIURL()
		files["api-token"], files["warm-users.txt"] = ill.Token(), strings.Join(ill.Users(), "\n")+"\n"
	}
	var text bytes.Buffer
	if err := template.Must(template.New("").Parse(demoConfig)).Execute(&text, values); err != nil {
		return "", fmt.Errorf("write the demo's configuration: %w", err)
	}
	files["opsbot.yaml"] = text.String()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("write the demo's configuration: %w", err)
		}
	}
	return filepath.Join(dir, "opsbot.yaml"), nil
}

// about says where the systems of a patient in containers are.
func about(p *compose.Patient) string {
	which := ""
	if p.Project() != compose.DemoProject {
		which = " --project " + p.Project()
	}
	return fmt.Sprintf(`
  The patient's systems, in the Compose project %s:
    site        %s
    Prometheus  %s
    PostgreSQL  127.0.0.1:%s, database bot_production
    Redis       %s
    folder      %s
  Make them fall ill:
    %s patient fault%s slow=80ms err=20     (and without faults: well again)
`, p.Project(), p.URL(), p.PrometheusURL(), p.Env("DB_PORT"), p.RedisAddr(), p.Dir(), self(), which)
}

// self is how this program was started, for commands to copy.
func self() string {
	if exe, err := os.Executable(); err == nil && strings.Contains(exe, "go-build") {
		return "go run ./cmd/opsbot"
	}
	return "opsbot"
}

// greeting is what a newcomer reads first.
func greeting(url, file, redis, containers string) string {
	return fmt.Sprintf(`
opsbot is at work:  %s

  A Slack workspace that is not Slack, a bot, and an API whose cache has gone
  bad (%s). Nothing leaves this machine; Ctrl-C ends it all.

  Type there:   /runbook
                /runbook cache-fix window=10s

  In a second terminal you are Cleo, an SRE:
    %s run cache-fix window=10s --env demo --config %s
    %s runs approve R1 --config %s
  The first starts a run, which Ben approves on the page; the second approves
  a run that Ann or Ben started there.
%s
`, url, redis, self(), file, self(), file, containers)
}

// onlyLoopback refuses to show the demo to others: whoever reaches its page
// can act as anyone.
func onlyLoopback(addr string) error {
	for _, host := range []string{"127.0.0.1:", "localhost:", "[::1]:"} {
		if strings.HasPrefix(addr, host) {
			return nil
		}
	}
	return usage("--addr %s: the demo has no log-in, so it listens on loopback only, such as 127.0.0.1:8765", addr)
}
