package bot

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/outbox"
)

// paper is the Markdown file that a message of a person in a channel shares.
func (e event) paper() (f slack.File, ok bool) {
	if e.Type != "message" || e.Subtype != "file_share" || e.BotID != "" || e.User == "" || e.ChannelType == "im" {
		return f, false
	}
	for _, f := range e.Files {
		if name := strings.ToLower(f.Name); f.ID != "" && (strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".markdown")) {
			return f, true
		}
	}
	return f, false
}

// shared reads a message with a Markdown file.
func shared(e event, f slack.File, team, key string) commands.Request {
	return commands.Request{
		Key: key, Action: commands.ActionPaper, Subject: f.ID, Message: e.TS, Where: outbox.Conversation{Channel: e.Channel, Thread: e.ThreadTS},
		Actor: access.Actor{Kind: access.Person, Team: team, ID: e.User, Via: "slack"}, Values: map[string]string{commands.ValueFiles: f.Name},
	}
}

// fetch downloads the file that a request wants to be taken. Only one that is
// shared where the request comes from: whoever asks can read it there, too.
func (k *worker) fetch(ctx context.Context, j *job) error {
	id, ok := commands.PaperOf(j.req)
	if !ok {
		return nil
	}
	var f *slack.File
	err := k.w.call(ctx, "files.info", func(ctx context.Context) (err error) {
		f, _, _, err = k.w.api.GetFileInfoContext(ctx, id, 0, 0)
		return err
	})
	switch {
	case word(err) == "missing_scope":
		return fault.New(fault.Conflict, "The Slack app may not read files.").Hinted("It lacks the scope files:read: install it anew with the present manifest.")
	case err != nil:
		return fault.New(fault.NotFound, "Slack does not give the file: %s.", word(err)).Because(err)
	case !slices.Contains(slices.Concat(f.Channels, f.Groups), j.req.Where.Channel):
		return fault.New(fault.NotFound, "The file is not in this channel any more. Please put it into the thread again.")
	case f.Size > commands.MaxPaper:
		return fault.New(fault.Invalid, "%s has %d bytes; at most %d are taken.", f.Name, f.Size, commands.MaxPaper)
	case !k.w.slackURL(f.URLPrivateDownload):
		return errForeignURL
	}
	text := &bounded{most: commands.MaxPaper}
	if err := k.w.api.GetFileContext(ctx, f.URLPrivateDownload, text); err != nil {
		return fault.New(fault.NotFound, "The file %s could not be read. Please try again.", f.Name).Because(err)
	}
	j.req.Values = map[string]string{commands.ValuePaper: text.String(), commands.ValueFiles: f.Name}
	return nil
}

// bounded is a buffer that takes so many bytes.
type bounded struct {
	bytes.Buffer
	most int
}

func (l *bounded) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.most {
		return 0, errors.New("the file is larger than Slack said")
	}
	return l.Buffer.Write(p)
}
