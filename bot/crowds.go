package bot

import (
	"context"
	"strconv"
	"sync"

	"github.com/slack-go/slack"

	"opsbot/commands"
)

const (
	// countEvery is after how many replies that this process saw a thread is
	// counted: Slack spreads events over sockets, and knows the true number.
	countEvery = 20
	// maxCrowds bounds the threads that are watched at a time.
	maxCrowds = 1000
)

// crowds notices threads in which much is said, at the price of a number each.
// What people say is not kept.
type crowds struct {
	mu   sync.Mutex
	seen map[string]int // replies, by thread
}

// reply counts a reply in a channel, and names an item of the inbox each time
// that the thread is worth a look.
func (c *crowds) reply(e event) (kind, key string, ok bool) {
	if e.Type != "message" || e.Subtype != "" || e.BotID != "" || e.User == "" || e.ThreadTS == "" || e.ThreadTS == e.TS || e.ChannelType == "im" {
		return "", "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	thread := e.Channel + "/" + e.ThreadTS
	if _, known := c.seen[thread]; c.seen == nil || !known && len(c.seen) >= maxCrowds {
		c.seen = map[string]int{}
	}
	if c.seen[thread]++; c.seen[thread] < countEvery {
		return "", "", false
	}
	delete(c.seen, thread)
	return kindCrowd, join("crowd", e.Channel, e.TS), true
}

// count asks Slack how many replies the thread has that a request is about.
func (k *worker) count(ctx context.Context, j *job) {
	r := &j.req
	if r.Action != commands.ActionCrowd {
		return
	}
	var found []slack.Message
	err := k.w.call(ctx, "conversations.replies", func(ctx context.Context) (err error) {
		found, _, _, err = k.w.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{ChannelID: r.Where.Channel, Timestamp: r.Where.Thread, Limit: 1, Inclusive: true})
		return err
	})
	if err != nil {
		k.log.Warn("count the replies of a thread", "channel", r.Where.Channel, "error", word(err))
		return
	}
	for _, m := range found {
		if m.Timestamp == r.Where.Thread {
			r.Values = map[string]string{commands.ValueReplies: strconv.Itoa(m.ReplyCount)}
		}
	}
}
