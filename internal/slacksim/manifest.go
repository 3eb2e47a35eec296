package slacksim

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

//go:embed facts/manifest.yaml
var defaultManifest []byte

// A manifest is what Slack knows of an app from its settings page. Source:
// slackapi/manifest-schema. Keys that change nothing here are not read.
type manifest struct {
	Display struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description"`
	} `yaml:"display_information"`
	Features struct {
		Home struct {
			HomeTab     bool  `yaml:"home_tab_enabled"`
			MessagesTab *bool `yaml:"messages_tab_enabled"` // absent means on
		} `yaml:"app_home"`
		BotUser struct {
			DisplayName string `yaml:"display_name"`
		} `yaml:"bot_user"`
		Commands []struct {
			Command      string `yaml:"command"`
			Description  string `yaml:"description"`
			UsageHint    string `yaml:"usage_hint"`
			ShouldEscape bool   `yaml:"should_escape"`
		} `yaml:"slash_commands"`
		Shortcuts []struct {
			Name        string `yaml:"name"`
			CallbackID  string `yaml:"callback_id"`
			Description string `yaml:"description"`
			Type        string `yaml:"type"`
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

// A Command is a slash command of the manifest.
type Command struct {
	Command      string // with its slash
	Description  string
	UsageHint    string
	ShouldEscape bool
}

// A ShortcutItem is an entry of Slack's shortcuts menu.
type ShortcutItem struct {
	Name       string
	CallbackID string
	Message    bool // on a message; otherwise global
}

// Commands lists the slash commands that people may type.
func (s *Server) Commands() []Command {
	var list []Command
	for _, c := range s.manifest.Features.Commands {
		list = append(list, Command(c))
	}
	return list
}

// Shortcuts lists the app's shortcuts.
func (s *Server) Shortcuts() []ShortcutItem {
	var list []ShortcutItem
	for _, c := range s.manifest.Features.Shortcuts {
		list = append(list, ShortcutItem{Name: c.Name, CallbackID: c.CallbackID, Message: c.Type == "message"})
	}
	return list
}

var commandName = regexp.MustCompile(`^/[^\s/]{1,31}$`)

// parseManifest reads a manifest and holds it to the limits of the schema.
func parseManifest(data []byte) (manifest, error) {
	var m manifest
	if len(data) > 128<<10 {
		return m, errors.New("it is larger than 128 KiB")
	}
	if err := yaml.Unmarshal(data, &m); err != nil {
		return m, err
	}
	var errs []error
	atMost := func(what, value string, limit int) {
		if n := utf8.RuneCountInString(value); n > limit {
			errs = append(errs, fmt.Errorf("%s has %d characters; at most %d are allowed", what, n, limit))
		}
	}
	if m.Display.Name == "" {
		errs = append(errs, errors.New("display_information.name is missing"))
	}
	atMost("display_information.name", m.Display.Name, 35)
	atMost("display_information.description", m.Display.Description, 140)
	atMost("features.bot_user.display_name", m.Features.BotUser.DisplayName, 80)
	if n := len(m.Features.Commands); n > 50 {
		errs = append(errs, fmt.Errorf("%d slash commands; at most 50 are allowed", n))
	}
	for _, c := range m.Features.Commands {
		if !commandName.MatchString(c.Command) {
			errs = append(errs, fmt.Errorf("slash command %q must start with / and have at most 32 characters without spaces", c.Command))
		}
		atMost("the description of "+c.Command, c.Description, 2000)
		atMost("the usage_hint of "+c.Command, c.UsageHint, 1000)
	}
	if n := len(m.Features.Shortcuts); n > 10 {
		errs = append(errs, fmt.Errorf("%d shortcuts; at most 10 are allowed", n))
	}
	for _, c := range m.Features.Shortcuts {
		atMost("the name of shortcut "+c.CallbackID, c.Name, 24)
		atMost("the callback_id "+c.CallbackID, c.CallbackID, 255)
		atMost("the description of shortcut "+c.CallbackID, c.Description, 150)
		if c.Type != "global" && c.Type != "message" {
			errs = append(errs, fmt.Errorf("the type of shortcut %s must be global or message, not %q", c.CallbackID, c.Type))
		}
	}
	if n := len(m.OAuth.Scopes.Bot); n > 255 {
		errs = append(errs, fmt.Errorf("%d scopes; at most 255 are allowed", n))
	}
	if n := len(m.Settings.Events.Bot); n > 100 {
		errs = append(errs, fmt.Errorf("%d events; at most 100 are allowed", n))
	}
	return m, errors.Join(errs...)
}

// subscribed reports whether the app gets events of the name.
func (m *manifest) subscribed(event string) bool {
	return slices.Contains(m.Settings.Events.Bot, event)
}
