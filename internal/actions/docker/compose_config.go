package docker

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	EnvTag     string            `json:"env_tag" help:"IMAGE_TAG as the env file has it, which everything else goes by that Compose does"`
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

func (composeConfig) Run(ctx context.Context, call runbooks.Call, _ io.Writer) (any, error) {
	c, args, err := both[ComposeConfigArgs](call)
	if err != nil {
		return nil, err
	}
	k, err := c.composed()
	if err != nil {
		return nil, err
	}
	m, err := k.model(ctx, args.ImageTag)
	if err != nil {
		return nil, err
	}
	set, err := k.environment(ctx)
	if err != nil {
		return nil, err
	}
	empty := slices.DeleteFunc(slices.Clone(args.Keys), func(key string) bool { return variableOf(set, key) != "" })
	r := ComposeConfig{Images: map[string]string{}, ConfigHash: m.hash, EnvTag: variableOf(set, "IMAGE_TAG"), MissingEnv: append([]string{}, empty...)}
	r.MissingEnv = append(r.MissingEnv, m.empty...)
	slices.Sort(r.MissingEnv)
	r.MissingEnv = slices.Compact(r.MissingEnv)
	for name, s := range m.Services {
		r.Services = append(r.Services, name)
		r.Images[name] = s.Image
	}
	slices.Sort(r.Services)
	return r, nil
}
