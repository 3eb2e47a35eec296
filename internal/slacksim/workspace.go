package slacksim

import (
	"encoding/json"
	"time"
)

// A User is a member of the workspace. The app's bot user is one of them.
type User struct {
	ID          string // "U…"; made up when empty
	Name        string // the handle, without @; unique
	RealName    string // defaults to Name
	Email       string // defaults to Name@example.com
	TZ          string // an IANA zone; defaults to Etc/UTC
	Bot         bool   // the app's own user
	Admin       bool
	Guest       bool // a single or multi channel guest
	Deactivated bool
}

// A Channel is a public or private channel or a direct message.
type Channel struct {
	ID       string // "C…", or "D…" for direct messages; made up when empty
	Name     string // without #; empty for direct messages
	Private  bool
	IM       bool // between two people
	MPIM     bool // between more
	General  bool // the workspace's own channel, which nobody can archive or leave
	Archived bool
	Topic    string
	Purpose  string
	Creator  string
	Created  time.Time
	Members  []string // user IDs; AddChannel takes names too
}

// A Usergroup is a group of people that can be mentioned by its handle.
type Usergroup struct {
	ID       string // "S…"; made up when empty
	Handle   string // without @
	Name     string
	Users    []string // user IDs; AddUsergroup takes names too
	Disabled bool
}

// A Reaction is one emoji on a message and the people who put it there.
type Reaction struct {
	Name  string   `json:"name"` // without colons
	Users []string `json:"users"`
	Count int      `json:"count"`
}

// A File is something that the app uploaded.
type File struct {
	ID       string
	Name     string
	Title    string
	Size     int
	Content  []byte
	User     string   // who uploaded it
	Channels []string // where it was shared; empty while private
	AltText  string
	Complete bool // whether files.completeUploadExternal was called
	Deleted  bool // it has no content any more, and messages only say that it was there
}

// A Message is one message as its readers see it now. Its JSON parts are kept
// as Slack would return them: with every block_id and action_id filled in.
type Message struct {
	Channel     string // the channel's ID
	TS          string // identifies the message in its channel
	ThreadTS    string // the parent's TS for a reply, the own TS for a parent, else empty
	Subtype     string // as in Slack's message event; empty for an ordinary message
	User        string // the author's user ID, also for the bot
	BotID       string // set on messages of the app
	Text        string // mrkdwn; for messages with blocks what a notification shows
	Blocks      json.RawMessage
	Attachments json.RawMessage
	Metadata    json.RawMessage // with its payload
	For         string          // the only user who sees it: an ephemeral message
	Edited      bool            // Slack shows "(edited)"
	Updates     int             // how often its content was replaced
	Deleted     bool
	Tombstone   bool // deleted, but its replies are still there: people see "This message was deleted."
	Broadcast   bool // a reply that is shown in the channel too
	Pinned      bool
	Reactions   []Reaction
	Files       []File
	ReplyCount  int
	Flags       []string // what Slack accepts but the author got wrong, such as a thread_ts that is no parent's

	inputs map[string]map[string]map[string]obj // by user: what they entered into the message
}

// Ephemeral reports whether only one person sees the message.
func (m Message) Ephemeral() bool { return m.For != "" }

// FromApp reports whether the app under test wrote the message.
func (m Message) FromApp() bool { return m.BotID != "" }

// A View is a modal or a Home tab as a person sees it.
type View struct {
	ID              string
	Type            string // "modal" or "home"
	CallbackID      string
	ExternalID      string
	Title           string
	Submit          string // the button's label; empty when there is none
	Close           string
	PrivateMetadata string
	Blocks          json.RawMessage
	Hash            string
	RootID          string
	PreviousID      string
	Errors          map[string]string         // by block_id, as shown at the fields
	State           map[string]map[string]any // what was entered, by block_id and action_id, in Slack's own form
	Raw             json.RawMessage           // the whole view as views.open answers it
}

// A Notice is a failure that Slack's client shows to one person beside what
// they clicked or typed.
type Notice struct {
	At      time.Time
	Text    string
	Channel string // empty for views
	TS      string // the message clicked on, if any
	ViewID  string
}

// An Event tells a subscriber that something a person may look at has
// changed; what it looks like now is read from the server.
type Event struct {
	Kind    string // message, update, delete, reaction, pin, view, home, notice, channel, user, socket or clock
	Channel string // empty when it concerns no channel
	TS      string // the message concerned, if any
	User    string // the only person concerned; empty for everybody
}

// An Option is one entry of a menu that the app filled on request.
type Option struct {
	Text  string
	Value string
}
