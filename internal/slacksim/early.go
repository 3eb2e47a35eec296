package slacksim

import "context"

// (interim: each of these moves to its own file within the hour; the signatures stay)

// A Press is one use of an interactive element.
type Press struct {
	Channel string // with TS: the message that holds the element; an ID, a name or #name
	TS      string
	ViewID  string                    // instead of Channel and TS: the view that holds it
	BlockID string                    // narrows Target; may be empty
	Target  string                    // the element's action_id, or the label that people see
	Choice  []string                  // what was chosen or typed: option values or labels, IDs, a date, text
	Deny    bool                      // say no in the element's confirm dialog
	State   map[string]map[string]any // what the other inputs of the message or view hold, by block_id and action_id
}

// A Person acts in Slack's client as one user.
type Person struct {
	s  *Server
	id string
}

func (s *Server) As(user string) *Person                                { return &Person{s, user} }
func (p *Person) ID() string                                            { return p.id }
func (p *Person) Say(channel, text string) (Message, error)             { return Message{}, nil }
func (p *Person) Reply(channel, threadTS, text string) (Message, error) { return Message{}, nil }
func (p *Person) Edit(channel, ts, text string) error                   { return nil }
func (p *Person) Delete(channel, ts string) error                       { return nil }

// Slash types a slash command; the message is the app's answer (ephemeral or not), zero when it gave none.
func (p *Person) Slash(channel, line string) (Message, error) { return Message{}, nil }
func (p *Person) SlashInThread(channel, threadTS, line string) (Message, error) {
	return Message{}, nil
}
func (p *Person) Click(channel, ts, target string, choice ...string) error { return nil }
func (p *Person) ClickView(viewID, target string, choice ...string) error  { return nil }
func (p *Person) Press(Press) error                                        { return nil }

// Submit presses the view's submit button; values are strings, or []string for several choices. Missing ones are as the view presets them.
func (p *Person) Submit(viewID string, values map[string]map[string]any) error { return nil }
func (p *Person) CloseView(viewID string, all bool) error                      { return nil }
func (p *Person) Suggest(press Press, query string) ([]Option, error)          { return nil, nil }
func (p *Person) Shortcut(callbackID string) error                             { return nil }
func (p *Person) MessageShortcut(callbackID, channel, ts string) error         { return nil }
func (p *Person) React(channel, ts, emoji string) error                        { return nil }
func (p *Person) Unreact(channel, ts, emoji string) error                      { return nil }
func (p *Person) Pin(channel, ts string) error                                 { return nil }
func (p *Person) Unpin(channel, ts string) error                               { return nil }
func (p *Person) Join(channel string) error                                    { return nil }
func (p *Person) Invite(channel, user string) error                            { return nil }
func (p *Person) OpenHome() (View, error)                                      { return View{}, nil }

// Views is the stack of open modals, the visible one last.
func (p *Person) Views() []View     { return nil }
func (p *Person) Home() View        { return View{} }
func (p *Person) Notices() []Notice { return nil }

func (s *Server) AddUser(User) User                 { return User{} }
func (s *Server) AddChannel(Channel) Channel        { return Channel{} }
func (s *Server) AddUsergroup(Usergroup) Usergroup  { return Usergroup{} }
func (s *Server) Users() []User                     { return nil }
func (s *Server) User(idOrName string) (User, bool) { return User{}, false }
func (s *Server) Channels() []Channel               { return nil }

// ChannelsOf lists what the person's sidebar shows: public channels, own private channels and direct messages.
func (s *Server) ChannelsOf(user string) []Channel        { return nil }
func (s *Server) Channel(idOrName string) (Channel, bool) { return Channel{}, false }

// History is the channel as the person sees it, oldest first, their ephemeral messages among them; no replies unless broadcast.
func (s *Server) History(channel, user string) []Message { return nil }

// Thread is the parent and its replies, oldest first.
func (s *Server) Thread(channel, ts, user string) []Message  { return nil }
func (s *Server) Message(channel, ts string) (Message, bool) { return Message{}, false }
func (s *Server) File(id string) (File, bool)                { return File{}, false }
func (s *Server) Files() []File                              { return nil }

// Commands lists the slash commands of the manifest, for completion.
func (s *Server) Commands() []Command { return nil }

// Subscribe tells of changes until ctx ends; then the channel is closed.
func (s *Server) Subscribe(ctx context.Context) <-chan Event { return nil }

// A Command is a slash command of the manifest.
type Command struct {
	Command, Description, UsageHint string
	ShouldEscape                    bool
}
