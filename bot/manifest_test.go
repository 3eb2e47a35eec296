package bot_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/slack-go/slack"

	"opsbot/bot"
	"opsbot/bot/blocks"
)

type manifest struct {
	Features struct {
		Commands []struct {
			Command string `yaml:"command"`
			Escape  bool   `yaml:"should_escape"`
		} `yaml:"slash_commands"`
		Shortcuts []struct {
			CallbackID string `yaml:"callback_id"`
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

// method is what a Web API method's name looks like.
var method = regexp.MustCompile(`^[a-z]+\.[a-zA-Z.]+$`)

// called returns the methods that the sources of the bot name.
func called(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	methods := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if s, err := strconv.Unquote(lit.Value); err == nil && method.MatchString(s) {
				methods[s] = true
			}
			return true
		})
	}
	// Hosts, a beginning, and events.
	for _, not := range []string{"slack.com", "gov.com", "slack-gov.com", "chat.", "message.channels", "message.groups", "message.im"} {
		delete(methods, not)
	}
	return methods
}

// chosen is a shortcut on a message, as Slack delivers it.
func chosen(id string) slack.InteractionCallback {
	cb := slack.InteractionCallback{Type: slack.InteractionTypeMessageAction, CallbackID: id}
	cb.Channel.ID, cb.Message.Timestamp = "C1", "1.5"
	return cb
}

// The manifest asks for what the code uses, and for nothing else.
func TestManifest(t *testing.T) {
	t.Parallel()
	var m manifest
	if err := yaml.Unmarshal(bot.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	if !m.Settings.SocketMode || !m.Settings.Interactivity.Enabled {
		t.Error("Socket Mode and interactivity must be on")
	}
	var names []string
	for _, c := range m.Features.Commands {
		names = append(names, c.Command)
		if !c.Escape {
			t.Errorf("%s: should_escape must be on; ids are what commands work with", c.Command)
		}
	}
	if want := []string{"/runbook", "/incident"}; !slices.Equal(names, want) {
		t.Errorf("commands %v, want %v", names, want)
	}
	for _, s := range m.Features.Shortcuts {
		if _, ok := blocks.Shortcut(chosen(s.CallbackID), "key"); !ok {
			t.Errorf("nothing answers the shortcut %s", s.CallbackID)
		}
	}
	if want := []string{"app_home_opened", "app_mention", "channel_archive", "group_archive", "message.channels", "message.groups", "message.im", "pin_added", "pin_removed", "reaction_added", "reaction_removed", "user_change"}; !slices.Equal(m.Settings.Events.Bot, want) {
		t.Errorf("events %v, want %v, which identify knows", m.Settings.Events.Bot, want)
	}

	data, err := os.ReadFile(filepath.Join("..", "internal", "slacksim", "facts", "methods.json"))
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		Methods map[string]struct {
			Scopes []string `json:"scopes_bot_any_of"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(data, &facts); err != nil {
		t.Fatal(err)
	}
	granted := m.OAuth.Scopes.Bot
	// What events and commands need, and the kinds of conversations we read:
	// public and private channels, and direct messages.
	used := map[string]bool{"commands": true, "app_mentions:read": true, "im:history": true, "pins:read": true, "reactions:read": true}
	methods := called(t)
	if len(methods) < 12 {
		t.Errorf("the sources name only %v", methods)
	}
	for name := range methods {
		fact, known := facts.Methods[name]
		if !known {
			t.Errorf("%s is no method of Slack's", name)
			continue
		}
		any := len(fact.Scopes) == 0
		for _, scope := range fact.Scopes {
			if slices.Contains(granted, scope) {
				any, used[scope] = true, true
			}
			if scope == "connections:write" { // of the app-level token
				any = true
			}
		}
		if !any {
			t.Errorf("%s needs one of %v", name, fact.Scopes)
		}
	}
	for _, scope := range granted {
		if !used[scope] {
			t.Errorf("no method needs the scope %s", scope)
		}
	}
}
