package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"opsbot/runbooks"
)

type composeConfig struct{}

// ComposeConfigArgs are the arguments of compose.config.
type ComposeConfigArgs struct {
	Keys     []string `arg:"keys" pattern:"^[A-Za-z_][A-Za-z0-9_]{0,127}$" help:"variables that the env file has to set"`
	ImageTag string   `arg:"image_tag" pattern:"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" help:"as for compose.up"`
}

// A ComposeConfig is the result of compose.config.
type ComposeConfig struct {
	Services   []string          `json:"services" help:"that the file declares"`
	Images     map[string]string `json:"images" help:"service → image that compose.up would use"`
	MissingEnv []string          `json:"missing_env" help:"variables that the file uses or the step asks for, and that are empty"`
	ConfigHash string            `json:"config_hash" help:"of the file with its variables filled in"`
}

// Found says the result in one line.
func (r ComposeConfig) Found() string {
	text := fmt.Sprintf("valid, %s", things(len(r.Services), "service"))
	if len(r.MissingEnv) > 0 {
		text += "; empty: " + strings.Join(r.MissingEnv, ", ")
	}
	return text
}

func (composeConfig) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "compose.config",
		Summary: "Check the Compose file and that its variables are set, never their values.",
		Timeout: 30 * time.Second,
		Args:    ComposeConfigArgs{},
		Result:  ComposeConfig{},
	}
}

func (composeConfig) Run(context.Context, runbooks.Call, io.Writer) (any, error) {
	return nil, errors.ErrUnsupported
}
