package bot

import (
	_ "embed"
	"sync"

	"github.com/goccy/go-yaml"
)

// Manifest is the Slack app's manifest, as YAML.
//
//go:embed manifest.yaml
var Manifest []byte

// scopes returns the bot scopes that the manifest asks for.
var scopes = sync.OnceValue(func() []string {
	var m struct {
		OAuth struct {
			Scopes struct {
				Bot []string `yaml:"bot"`
			} `yaml:"scopes"`
		} `yaml:"oauth_config"`
	}
	if err := yaml.Unmarshal(Manifest, &m); err != nil {
		panic("bot: the built-in manifest: " + err.Error())
	}
	return m.OAuth.Scopes.Bot
})
