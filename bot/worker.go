package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"opsbot/bot/blocks"
	"opsbot/commands"
	"opsbot/internal/access"
	"opsbot/internal/fault"
	"opsbot/internal/inbox"
	"opsbot/internal/outbox"
)

const (
	// inHand is how many items a process has leased at a time.
	inHand = 32
	// workPoll is the backstop for a lost signal, and how other replicas'
	// leftovers are found.
	workPoll = time.Second
	// handleTimeout bounds one request.
	handleTimeout = 30 * time.Second
	// stopTimeout is what requests under way get at the end.
	stopTimeout = 20 * time.Second
	// triesUnavailable is how often a request is tried while something that it
	// needs is away; the pauses between are 0.5 s and 2 s.
	triesUnavailable = 3
	// triggerLife is how long a trigger_id opens a form.
	triggerLife = 3 * time.Second
)

// A Handler does what people ask for. It may be given a request again, after a
// crash: the same Key must not take effect twice. Its errors are told to the
// person as fault.Say has them.
type Handler interface {
	Handle(ctx context.Context, req commands.Request) (commands.Reply, error)
}

// A worker takes recorded requests, in order for each conversation, and
// commits what they are answered.
type worker struct {
	w       *Workspace
	inbox   inbox.Queue
	handler Handler
	owner   string
	log     *slog.Logger
	refused *refusals
	people  *Directory // may be nil

	leases *holds[string]

	mu    sync.Mutex
	lanes map[string][]job // waiting behind the one that runs, by conversation
	busy  int
	freed chan struct{}
	done  sync.WaitGroup
}

// A job is an item with what it asks for.
type job struct {
	item    inbox.Item
	req     commands.Request
	trigger string // opens a form
	reply   string // response_url
	asked   bool   // req is set; otherwise nothing is asked for
}

// Serve works until ctx ends, then finishes what it has begun. What it leased
// and did not begin is left to whoever comes next.
func (k *worker) Serve(ctx context.Context) error {
	k.lanes = map[string][]job{}
	k.freed = make(chan struct{}, 1)
	k.leases = newHolds(func(ctx context.Context, keys ...string) ([]string, error) {
		return k.inbox.Keep(ctx, k.owner, keys...)
	})
	defer k.leases.serve(k.log)()
	// Requests under way do not end with ctx, but soon after.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	poll := time.NewTicker(workPoll)
	defer poll.Stop()
	for ctx.Err() == nil {
		if n := k.room(); n > 0 {
			asked := time.Now()
			items, err := k.inbox.Next(ctx, k.owner, n)
			if err != nil && ctx.Err() == nil {
				k.log.Error("look into the inbox", "error", err)
			}
			for _, item := range items {
				k.leases.take(item.Key, asked)
				k.enter(ctx, work, item)
			}
			if len(items) == n {
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-k.inbox.Signal():
		case <-k.freed:
		case <-poll.C:
		}
	}
	timer := time.AfterFunc(stopTimeout, stop)
	defer timer.Stop()
	k.done.Wait()
	return nil
}

func (k *worker) room() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return inHand - k.busy
}

// enter puts an item behind the others of its conversation.
func (k *worker) enter(ctx, work context.Context, item inbox.Item) {
	j := k.read(item)
	lane := j.req.Where.Channel
	if lane == "" {
		lane = "person " + j.req.Actor.ID
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy++
	k.w.metrics.waiting.Set(float64(k.busy))
	if _, running := k.lanes[lane]; running {
		k.lanes[lane] = append(k.lanes[lane], j)
		return
	}
	k.lanes[lane] = nil
	k.done.Go(func() { k.run(ctx, work, lane, j) })
}

// run works through a lane and removes it.
func (k *worker) run(ctx, work context.Context, lane string, j job) {
	for {
		switch {
		case ctx.Err() != nil:
			k.later(work, j, time.Now(), "stopped")
		case k.leases.good(j.item.Key):
			k.work(work, j)
		default:
			// It waited behind others while no lease could be renewed.
			k.log.Warn("a request is left to whoever has it now", "key", j.item.Key)
		}
		k.leases.drop(j.item.Key)
		k.mu.Lock()
		k.busy--
		k.w.metrics.waiting.Set(float64(k.busy))
		waiting := k.lanes[lane]
		if len(waiting) == 0 {
			delete(k.lanes, lane)
		} else {
			j, k.lanes[lane] = waiting[0], waiting[1:]
		}
		k.mu.Unlock()
		select {
		case k.freed <- struct{}{}:
		default:
		}
		if len(waiting) == 0 {
			return
		}
	}
}

// read decodes an item. What cannot be read asks for nothing.
func (k *worker) read(item inbox.Item) job {
	j := job{item: item}
	p, err := readPayload(item.Payload)
	if err != nil {
		k.log.Error("read an inbox item", "key", item.Key, "error", err)
		return j
	}
	j.trigger, j.reply = p.TriggerID, p.ResponseURL
	switch item.Kind {
	case kindSlash:
		var cmd slack.SlashCommand
		if err = json.Unmarshal(item.Payload, &cmd); err == nil {
			j.req, j.asked = blocks.Slash(cmd, item.Key), true
		}
	case kindClick, kindSubmit, kindAct:
		var cb slack.InteractionCallback
		if err = json.Unmarshal(item.Payload, &cb); err == nil {
			switch item.Kind {
			case kindClick:
				j.req, j.asked = blocks.Click(cb, item.Key)
			case kindAct:
				j.req, j.asked = blocks.Shortcut(cb, item.Key)
			default:
				j.req, j.asked = blocks.Submission(cb, item.Key)
			}
		}
	case kindCrowd:
		j.req, j.asked = commands.Request{
			Key: item.Key, Action: commands.ActionCrowd, Where: outbox.Conversation{Channel: p.Event.Channel, Thread: p.Event.ThreadTS},
			Actor: access.Actor{Kind: access.Person, Team: p.TeamID, ID: p.Event.User, Via: "slack"},
		}, true
	case kindEvent:
		e, team := p.Event, p.Event.Team
		if team == "" {
			team = p.TeamID
		}
		if e.Type == homeOpened {
			j.req, j.asked = blocks.Opened(e.User, team, item.Key), true
			break
		}
		if archived(e) {
			j.req, j.asked = blocks.Archived(e.Channel, k.w.describe(e.Channel), e.User, team, item.Key), true
			break
		}
		if _, _, is := identifyMark(e); is {
			j.req, j.asked = marked(e, team, item.Key, k.w.who().user)
			break
		}
		if f, ok := e.paper(); ok {
			j.req, j.asked = shared(e, f, team, item.Key), true
			break
		}
		j.req, j.asked = blocks.Mention(e.Text, e.Channel, e.ThreadTS, e.User, team, e.TS, k.w.who().user, item.Key), true
	}
	if err != nil {
		k.log.Error("read an inbox item", "key", item.Key, "kind", item.Kind, "error", err)
	}
	return j
}

// work handles one request and commits its answer.
func (k *worker) work(stop context.Context, j job) {
	ctx, cancel := context.WithTimeout(stop, handleTimeout)
	defer cancel()
	if !j.asked || k.refused.ignore(j.item.Key) {
		k.finish(ctx, j, "ignored")
		return
	}
	if k.people != nil && j.req.Actor.ID != "" {
		j.req.Zone = k.people.Zone(ctx, j.req.Actor.ID)
		if j.req.Actor.Name == "" {
			j.req.Actor.Name = k.people.Name(ctx, j.req.Actor.ID)
		}
	}
	k.quote(ctx, &j)
	k.count(ctx, &j)
	k.name(ctx, &j.req)
	said := j.req.Where // where the person is, which decides where answers go
	moved := k.house(ctx, &j)
	var reply commands.Reply
	err := k.fetch(ctx, &j)
	if err == nil {
		reply, err = k.handle(ctx, j.req)
	}
	result := "ok"
	switch kind := fault.KindOf(err); {
	case err == nil:
	case stop.Err() != nil && kind == fault.Internal:
		// Stopped half-way: the next process does it again.
		k.later(ctx, j, time.Now(), "stopped")
		return
	case kind == fault.Unavailable && j.item.Attempts < triesUnavailable:
		pause := 500 * time.Millisecond << (2 * max(0, j.item.Attempts-1))
		k.log.Warn("request put off", "key", j.item.Key, "error", err, "attempt", j.item.Attempts)
		k.later(ctx, j, time.Now().Add(pause), err.Error())
		return
	case kind == fault.Internal:
		k.log.Error("handle request", "key", j.item.Key, "error", err)
		result = string(kind)
	default:
		k.log.Info("request refused", "key", j.item.Key, "kind", kind, "error", err)
		result = string(kind)
	}
	if err != nil {
		reply = commands.Reply{Answer: apology(err)}
	}
	if reply.Form != nil {
		if sorry := k.open(ctx, j, *reply.Form); sorry != "" {
			reply.Answer = &outbox.Answer{Tone: "error", Text: sorry}
		}
	}
	notices := reply.Notices
	if moved && reply.Answer == nil && reply.Form == nil {
		reply.Answer = &outbox.Answer{Text: fmt.Sprintf("It goes on in %s, because opsbot is not a member here.", k.w.describe(k.w.ops()))}
	}
	if reply.Answer != nil {
		answer := outbox.Notice{To: said, Only: j.req.Actor.ID, Reply: j.reply, Content: *reply.Answer}
		if said.Channel == "" && j.reply == "" { // from their home page
			answer.To, answer.Only = outbox.Conversation{Channel: j.req.Actor.ID}, ""
		}
		if said.Thread != "" {
			answer.Reply = "" // through it, the answer would stand in the channel
		}
		notices = append([]outbox.Notice{answer}, notices...)
	}
	k.finish(ctx, j, result, notices...)
}

// name completes the names that Slack did not say, and puts them into a message
// that somebody wants to keep.
func (k *worker) name(ctx context.Context, r *commands.Request) {
	for id, known := range r.Names {
		switch {
		case known != "":
		case id[0] == 'C' || id[0] == 'G':
			if name := k.w.describe(id); strings.HasPrefix(name, "#") {
				r.Names[id] = name
			}
		case k.people != nil:
			if name := k.people.Name(ctx, id); name != "" {
				r.Names[id] = "@" + name
			}
		}
	}
	if said, ok := r.Values[commands.ValueSaid]; ok {
		r.Values[commands.ValueSaid] = r.Named(said)
	}
}

// apology is what a person is told about an error.
func apology(err error) *outbox.Answer {
	return &outbox.Answer{Tone: "error", Text: fault.Say(err)}
}

// house moves a request from a channel that the bot is not in, and from direct
// messages, to the ops channel: what it starts must be seen by those who may
// have to agree to it.
func (k *worker) house(ctx context.Context, j *job) (moved bool) {
	where := j.req.Where
	switch a := j.req.Action; {
	case a == commands.ActionDecide, a == commands.ActionStop:
		return false // about a run that has its place
	case a == commands.ActionIncident, a == commands.ActionDeclareHere, a == commands.ActionCapture, a == commands.ActionAmend, a == commands.ActionArchived, a == commands.ActionCrowd, a == commands.ActionPaper, a == "" && commands.IsIncident(j.req.Line):
		return false // incidents have a channel of their own
	}
	if where.Channel == "" || k.w.ops() == "" || where.Channel == k.w.ops() || k.w.lives(ctx, where.Channel) {
		return false
	}
	j.req.Where = outbox.Conversation{Channel: k.w.ops()}
	return true
}

// handle calls the handler and makes an error of its panic.
func (k *worker) handle(ctx context.Context, req commands.Request) (reply commands.Reply, err error) {
	defer func() {
		if r := recover(); r != nil {
			k.log.Error("panic in a request", "key", req.Key, "panic", r, "stack", string(debug.Stack()))
			reply, err = commands.Reply{}, fmt.Errorf("panic: %v", r)
		}
	}()
	unsaid := req.Action == commands.ActionAmend || req.Action == commands.ActionArchived // Slack does not always say who
	if !unsaid && (req.Actor.Kind != access.Person || req.Actor.ID == "") {
		return commands.Reply{}, fault.New(fault.Forbidden, "Slack did not say who asks.")
	}
	return k.handler.Handle(ctx, req)
}

// open shows a form. What went wrong comes back as a sentence for the person.
func (k *worker) open(ctx context.Context, j job, form commands.Form) (sorry string) {
	const late = "The form could not be opened in time. Please try again."
	if j.trigger == "" && form.Else != "" {
		return form.Else
	}
	if j.trigger == "" {
		return "A form cannot be opened from here. Please use the slash command, or a button."
	}
	if time.Since(j.item.Received) > triggerLife+time.Second {
		return late
	}
	form.Message = j.req.Actor.Message
	err := k.w.call(ctx, "views.open", func(ctx context.Context) error {
		_, err := k.w.api.OpenViewContext(ctx, j.trigger, blocks.View(form))
		return err
	})
	switch w := word(err); w {
	case "ok":
		return ""
	case "exchanged_trigger_id":
		// Used already: an earlier attempt at this request opened the form.
		if j.item.Attempts > 1 {
			return ""
		}
		return late
	case "expired_trigger_id":
		return late
	default:
		k.log.Error("open form", "action", form.Action, "error", w, "details", details(err))
		if o, _ := judge(err); o == unclear || o == limited {
			return late
		}
		return "Slack does not take the form. The log has the details."
	}
}

// finish commits the end of a request. A database that is away for a moment is
// waited for; if it stays away, the request's lease runs out and it is done
// again.
func (k *worker) finish(ctx context.Context, j job, result string, notices ...outbox.Notice) {
	// Its own time: the request may have used up all of what it had.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	err := again(ctx, func() error { return k.inbox.Done(ctx, j.item.Key, notices...) })
	if err != nil {
		result = "not_committed"
		k.log.Error("commit the answer to a request", "key", j.item.Key, "error", err)
	}
	k.w.metrics.handled.WithLabelValues(j.item.Kind, result).Observe(time.Since(j.item.Received).Seconds())
}

func (k *worker) later(ctx context.Context, j job, at time.Time, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := k.inbox.Later(ctx, j.item.Key, at, why); err != nil {
		k.log.Error("put a request off", "key", j.item.Key, "error", err)
	}
}

// again tries f a few times, with growing pauses, as long as ctx lives.
func again(ctx context.Context, f func() error) (err error) {
	for pause := 50 * time.Millisecond; pause < 2*time.Second; pause *= 2 {
		if err = f(); err == nil || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
	return err
}
