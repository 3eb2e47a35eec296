package bot

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/slack-go/slack"

	"opsbot/internal/fault"
)

// Manifest is the Slack app's manifest, as YAML.
//
//go:embed manifest.yaml
var Manifest []byte

// A manifest is the part of an app's settings without which something here
// would not work.
type manifest struct {
	Features struct {
		Home struct {
			HomeTab     bool `yaml:"home_tab_enabled"`
			MessagesTab bool `yaml:"messages_tab_enabled"`
		} `yaml:"app_home"`
		Commands []struct {
			Command string `yaml:"command"`
			Escape  bool   `yaml:"should_escape"`
		} `yaml:"slash_commands"`
		Shortcuts []struct {
			Name string `yaml:"name"`
			ID   string `yaml:"callback_id"`
			Type string `yaml:"type"`
		} `yaml:"shortcuts"`
	} `yaml:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `yaml:"bot"`
		} `yaml:"scopes"`
	} `yaml:"oauth_config"`
	Settings struct {
		Events struct {
			Bot []string `yaml:"bot_events"`
		} `yaml:"event_subscriptions"`
		Interactivity struct {
			Enabled bool `yaml:"is_enabled"`
		} `yaml:"interactivity"`
		SocketMode bool `yaml:"socket_mode_enabled"`
	} `yaml:"settings"`
}

// wanted is the manifest of this version.
var wanted = sync.OnceValue(func() manifest {
	var m manifest
	if err := yaml.Unmarshal(Manifest, &m); err != nil {
		panic("bot: the built-in manifest: " + err.Error())
	}
	return m
})

// scopes returns the bot scopes that the manifest asks for.
func scopes() []string { return wanted().OAuth.Scopes.Bot }

// features lists what the settings switch on, each as people find it there.
func (m manifest) features() []string {
	var list []string
	for _, e := range m.Settings.Events.Bot {
		list = append(list, "the event "+e)
	}
	for _, c := range m.Features.Commands {
		list = append(list, "the slash command "+c.Command)
		if c.Escape {
			list = append(list, `"Escape channels, users, and links" of `+c.Command)
		}
	}
	for _, s := range m.Features.Shortcuts {
		list = append(list, fmt.Sprintf("the %s shortcut %s", s.Type, s.ID))
	}
	for name, on := range map[string]bool{
		"the home tab": m.Features.Home.HomeTab, "the messages tab": m.Features.Home.MessagesTab,
		"interactivity": m.Settings.Interactivity.Enabled, "Socket Mode": m.Settings.SocketMode,
	} {
		if on {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// compareManifest looks whether the app's settings have all that this version
// needs. A configuration token that Slack does not take (any more) is an error
// of kind Forbidden.
func (w *Workspace) compareManifest(ctx context.Context, botID string) error {
	var me *slack.Bot
	err := w.call(ctx, "bots.info", func(ctx context.Context) (err error) {
		me, err = w.api.GetBotInfoContext(ctx, slack.GetBotInfoParameters{Bot: botID})
		return err
	})
	if err != nil {
		return startError("bots.info", "bot token (SLACK_BOT_TOKEN)", err)
	}
	var raw []byte
	err = w.call(ctx, "apps.manifest.export", func(ctx context.Context) (err error) {
		raw, err = w.api.ExportManifestRawContext(ctx, w.access.ConfigToken, me.AppID)
		return err
	})
	switch o, _ := judge(err); {
	case o == limited || o == unclear:
		return startError("apps.manifest.export", "configuration token", err)
	case err != nil:
		return fault.New(fault.Forbidden, "Slack does not show the app's settings with the configuration token (SLACK_CONFIG_TOKEN): %s.", hint(err)).
			Hinted("It is good for twelve hours: generate a new one at api.slack.com/apps, or leave it out.").Because(err)
	}
	var have manifest
	if err := yaml.Unmarshal(raw, &have); err != nil { // JSON is YAML
		return fault.New(fault.Unavailable, "Slack's answer to apps.manifest.export cannot be read.").Because(err)
	}
	there := have.features()
	missing := slices.DeleteFunc(wanted().features(), func(f string) bool { return slices.Contains(there, f) })
	if len(missing) > 0 {
		return fault.New(fault.Invalid, "The Slack app lacks %s.", strings.Join(missing, ", ")).
			Hinted("Paste the manifest of this version (opsbot manifest) into its settings under App Manifest, and install the app again.")
	}
	return nil
}
