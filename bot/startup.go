package bot

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"opsbot/internal/fault"
)

// Check makes sure that the tokens, the app's scopes and the channels are what
// the bot needs, and learns who it is. slack-go would retry some of these
// mistakes for ever without a word. Its errors are for people: of kind
// Unavailable when asking again later may work, of kind Invalid or NotFound
// when somebody has to change something.
func (w *Workspace) Check(ctx context.Context) error {
	me, err := w.authTest(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.identity = me
	w.mu.Unlock()
	if w.access.ConfigToken != "" {
		err := w.compareManifest(ctx, me.bot)
		if fault.KindOf(err) == fault.Forbidden {
			// It is good for hours only: with an old one, the bot starts all the same.
			w.log.Warn("compare the app's settings with the manifest", "error", err)
		} else if err != nil {
			return err
		}
	}
	err = w.call(ctx, openMethod, func(ctx context.Context) error {
		_, _, err := w.api.StartSocketModeContext(ctx)
		return err
	})
	if err != nil {
		return startError(openMethod, "app-level token (SLACK_APP_TOKEN)", err)
	}
	return w.findChannels(ctx)
}

// CheckInstallation makes sure that the bot token works and that the installed
// app has every scope of this version's manifest and, with a configuration
// token, everything else that the manifest asks for. It changes nothing. Its
// errors are those of Check.
func (w *Workspace) CheckInstallation(ctx context.Context) error {
	me, err := w.authTest(ctx)
	if err != nil || w.access.ConfigToken == "" {
		return err
	}
	return w.compareManifest(ctx, me.bot)
}

func (w *Workspace) authTest(ctx context.Context) (identity, error) {
	var answer *slack.AuthTestResponse
	err := w.call(ctx, "auth.test", func(ctx context.Context) (err error) {
		answer, err = w.api.AuthTestContext(ctx)
		return err
	})
	if err != nil {
		return identity{}, startError("auth.test", "bot token (SLACK_BOT_TOKEN)", err)
	}
	if answer.BotID == "" {
		return identity{}, fault.New(fault.Invalid, "The bot token (SLACK_BOT_TOKEN) belongs to a person, not to a bot.").
			Hinted("Copy the Bot User OAuth Token from OAuth & Permissions; it starts with xoxb-.")
	}
	if granted := answer.Header.Get("X-OAuth-Scopes"); granted != "" {
		var missing []string
		have := strings.FieldsFunc(granted, func(r rune) bool { return r == ',' || r == ' ' })
		for _, scope := range scopes() {
			if !slices.Contains(have, scope) {
				missing = append(missing, scope)
			}
		}
		if len(missing) > 0 {
			return identity{}, fault.New(fault.Invalid, "The Slack app lacks the scopes %s.", strings.Join(missing, ", ")).
				Hinted("Add them under OAuth & Permissions, or paste the manifest of this version (opsbot manifest), and install the app again.")
		}
	}
	return identity{team: answer.TeamID, user: answer.UserID, bot: answer.BotID}, nil
}

// hints says what to do about the errors that people can mend.
var hints = map[string]string{
	"invalid_auth":           "Slack does not know this token: copy it again, and look for a missing character",
	"not_authed":             "no token was sent",
	"account_inactive":       "the token belongs to a deleted user or workspace: install the app again",
	"token_revoked":          "the token was revoked: install the app again and use the new one",
	"token_expired":          "the token has expired; token rotation must be off for this app",
	"not_allowed_token_type": "this is the wrong kind of token: SLACK_BOT_TOKEN starts with xoxb-, SLACK_APP_TOKEN with xapp-",
	"missing_scope":          "the token lacks a scope: SLACK_APP_TOKEN needs connections:write, for SLACK_BOT_TOKEN see opsbot manifest; then install the app again",
	"forbidden_team":         "the app is not allowed in this workspace: an administrator must approve it",
	"access_denied":          "an administrator has restricted the app",
	"no_answer":              "it does not answer",
	"org_login_required":     "the workspace is being moved into an organisation; wait for that",
}

func hint(err error) string {
	if h := hints[word(err)]; h != "" {
		return h
	}
	return word(err)
}

func startError(method, token string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	switch o, wait := judge(err); o {
	case limited:
		return fault.New(fault.Unavailable, "Slack asks to wait %s before %s is called again.", wait, method).Because(err)
	case unclear:
		return fault.New(fault.Unavailable, "Slack does not answer (%s).", method).
			Hinted("Is the network up, and SLACK_API_URL right? opsbot keeps trying where it can.").Because(err)
	default:
		var said slack.SlackErrorResponse
		if errors.As(err, &said) && said.Needed != "" {
			return fault.New(fault.Invalid, "Slack refuses the %s: it lacks the scope %s.", token, said.Needed).
				Hinted("Add it in the app's settings and install the app again.").Because(err)
		}
		return fault.New(fault.Invalid, "Slack refuses the %s: %s.", token, hint(err)).Because(err)
	}
}

var channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{7,}$`)

func isChannelID(s string) bool { return channelID.MatchString(s) }

func bare(name string) string {
	return strings.ToLower(strings.TrimPrefix(strings.TrimSpace(name), "#"))
}

// findChannels resolves the configured channels and joins those that the bot
// is not in. All of the channels are read: Slack has no look-up by name.
func (w *Workspace) findChannels(ctx context.Context) error {
	wanted := map[string]string{} // bare name or id → as configured
	for _, name := range append([]string{w.access.OpsChannel}, w.access.Channels...) {
		switch {
		case isChannelID(name):
			wanted[name] = name
		case bare(name) != "":
			wanted[bare(name)] = name
		}
	}
	for _, key := range sorted(wanted) {
		if !isChannelID(key) {
			continue
		}
		var ch *slack.Channel
		err := w.call(ctx, "conversations.info", func(ctx context.Context) (err error) {
			ch, err = w.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: key})
			return err
		})
		if word(err) == "channel_not_found" {
			return noChannel(key)
		} else if err != nil {
			return startError("conversations.info", "bot token (SLACK_BOT_TOKEN)", err)
		}
		if err := w.settle(ctx, *ch); err != nil {
			return err
		}
		delete(wanted, key)
	}
	for cursor := ""; len(wanted) > 0; {
		var page []slack.Channel
		var next string
		err := w.patiently(ctx, "conversations.list", func(ctx context.Context) (err error) {
			page, next, err = w.api.GetConversationsContext(ctx, &slack.GetConversationsParameters{
				Cursor: cursor, ExcludeArchived: true, Limit: 900, Types: []string{"public_channel", "private_channel"},
			})
			return err
		})
		if err != nil {
			return startError("conversations.list", "bot token (SLACK_BOT_TOKEN)", err)
		}
		for _, ch := range page {
			if _, ok := wanted[ch.Name]; !ok {
				continue
			}
			if err := w.settle(ctx, ch); err != nil {
				return err
			}
			delete(wanted, ch.Name)
		}
		// A short page is not the last one; only an empty cursor is.
		if next == "" || next == cursor {
			break
		}
		cursor = next
	}
	for _, key := range sorted(wanted) {
		return noChannel(wanted[key])
	}
	return nil
}

func noChannel(name string) error {
	return fault.New(fault.NotFound, "There is no channel %s, or it is private and the bot is not in it.", name).
		Hinted("Check slack.ops_channel and slack.incident_channel; in a private channel, type /invite @opsbot first.")
}

// settle joins the channel if need be and remembers its id.
func (w *Workspace) settle(ctx context.Context, ch slack.Channel) error {
	if ch.IsArchived {
		return fault.New(fault.Invalid, "The channel #%s is archived.", ch.Name).Hinted("Unarchive it, or configure another one.")
	}
	if !ch.IsMember {
		err := w.call(ctx, "conversations.join", func(ctx context.Context) error {
			_, _, _, err := w.api.JoinConversationContext(ctx, ch.ID)
			return err
		})
		if o, _ := judge(err); o == limited || o == unclear {
			return startError("conversations.join", "bot token (SLACK_BOT_TOKEN)", err)
		} else if err != nil {
			return fault.New(fault.Invalid, "The bot is not in #%s and cannot join it (%s).", ch.Name, word(err)).
				Hinted("Type /invite @opsbot there.").Because(err)
		}
		w.log.Info("joined channel", "channel", ch.Name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.channels[bare(ch.Name)] = ch.ID
	w.channels[ch.ID] = ch.ID
	w.homes[ch.ID] = home{member: true, name: ch.Name, public: !ch.IsPrivate, at: farFuture}
	return nil
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// describe names a channel as people do.
func (w *Workspace) describe(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h, ok := w.homes[id]; ok && h.name != "" {
		return "#" + h.name
	}
	return fmt.Sprintf("channel %s", id)
}
