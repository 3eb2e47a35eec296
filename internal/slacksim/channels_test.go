package slacksim_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"opsbot/internal/slacksim"
)

func TestChannelRefusals(t *testing.T) {
	t.Parallel()
	s := workspace(t, slacksim.Options{NoRateLimit: true})
	s.AddChannel(slacksim.Channel{Name: "old", Archived: true, Members: []string{"opsbot"}})
	s.AddUser(slacksim.User{Name: "gone", Deactivated: true})
	ops, quiet, secret := channelID(t, s, "ops"), channelID(t, s, "quiet"), channelID(t, s, "secret")
	old, hidden, general := channelID(t, s, "old"), channelID(t, s, "hidden"), channelID(t, s, "general")
	ann, ben, cleo, bot := userID(t, s, "ann"), userID(t, s, "ben"), userID(t, s, "cleo"), s.BotUserID()
	checkRefusals(t, s, []refusalRow{
		{"rule 77: A", "conversations.create", []string{"name", "Inc 42!"}, "invalid_name_specials"},
		{"rule 77: A", "conversations.create", []string{"name", strings.Repeat("a", 81)}, "invalid_name_maxlength"},
		{"rule 77: A", "conversations.create", []string{"name", strings.Repeat("a", 80)}, ""},
		{"rule 77: A", "conversations.create", []string{"name", "ops"}, "name_taken"},
		{"rule 77: ?", "conversations.create", []string{"name", "old"}, "name_taken"},
		{"rule 77: A", "conversations.create", []string{"name", "---"}, "invalid_name_punctuation"},
		{"rule 77: A", "conversations.create", []string{"name", ""}, "invalid_name_required"},
		{"rule 77: A", "conversations.create", nil, "invalid_name_required"},
		{"rule 77: A", "conversations.rename", []string{"channel", ops, "name", "quiet"}, "name_taken"},
		{"rule 77: A", "conversations.rename", []string{"channel", ops, "name", "ops-2"}, ""},
		{"rule 78: A", "conversations.invite", []string{"channel", ops, "users", ann}, "already_in_channel"},
		{"rule 78: A", "conversations.invite", []string{"channel", ops, "users", bot}, "cant_invite_self"},
		{"rule 78: A", "conversations.invite", []string{"channel", ops, "users", "U404"}, "user_not_found"},
		{"rule 78: A", "conversations.invite", []string{"channel", quiet, "users", cleo}, "not_in_channel"},
		{"rule 78: A", "conversations.invite", []string{"channel", old, "users", cleo}, "is_archived"},
		{"rule 80: A", "conversations.setTopic", []string{"channel", ops, "topic", strings.Repeat("a", 251)}, "too_long"},
		{"rule 80: A", "conversations.setTopic", []string{"channel", ops, "topic", strings.Repeat("a", 250)}, ""},
		{"rule 80: A", "conversations.setPurpose", []string{"channel", ops, "purpose", strings.Repeat("a", 251)}, "too_long"},
		{"reference", "conversations.setTopic", []string{"channel", quiet, "topic", "x"}, "not_in_channel"},
		{"reference", "conversations.setTopic", []string{"channel", old, "topic", "x"}, "is_archived"},
		{"rule 81: A", "conversations.archive", []string{"channel", general}, "cant_archive_general"},
		{"rule 81: A", "conversations.archive", []string{"channel", old}, "already_archived"},
		{"reference", "conversations.archive", []string{"channel", quiet}, "not_in_channel"},
		{"reference", "conversations.unarchive", []string{"channel", ops}, "not_archived"},
		{"reference", "conversations.unarchive", []string{"channel", old}, ""},
		{"reference", "conversations.archive", []string{"channel", old}, ""},
		{"rule 63: A,D", "conversations.info", []string{"channel", hidden}, "channel_not_found"},
		{"reference", "conversations.join", []string{"channel", old}, "is_archived"},
		{"reference", "conversations.join", []string{"channel", secret}, "method_not_supported_for_channel_type"},
		{"reference", "conversations.leave", []string{"channel", general}, "cant_leave_general"},
		{"reference", "conversations.kick", []string{"channel", ops, "user", bot}, "cant_kick_self"},
		{"reference", "conversations.kick", []string{"channel", ops, "user", cleo}, "not_in_channel"},
		{"reference", "conversations.kick", []string{"channel", ops, "user", ben}, ""},
		{"reference", "conversations.open", []string{"users", "U404"}, "user_not_found"},
		{"reference", "conversations.open", []string{"users", userID(t, s, "gone")}, "user_disabled"},
		{"reference", "conversations.open", nil, "users_list_not_supplied"},
		{"reference", "conversations.open", []string{"users", strings.Repeat(ann+",", 9)}, "too_many_users"},
		{"reference", "conversations.list", []string{"types", "nonsense"}, "invalid_types"},
		{"reference", "conversations.list", []string{"limit", "1000"}, "invalid_limit"},
		{"reference", "conversations.members", []string{"channel", ops, "cursor", "x"}, "invalid_cursor"},
		{"rule 82: A", "users.info", []string{"user", "U404"}, "user_not_found"},
		{"rule 82: A", "users.lookupByEmail", []string{"email", "nobody@example.com"}, "users_not_found"},
		{"rule 82: A", "users.lookupByEmail", []string{"email", "ann@example.com"}, ""},
		{"reference", "usergroups.users.list", []string{"usergroup", "S404"}, "no_such_subteam"},
		{"reference", "conversations.leave", []string{"channel", secret}, ""},
	})
}

// rule 78: A. An invitation says what is wrong with whom; force invites the rest.
func TestInviteDetails(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops, users := channelID(t, s, "ops"), userID(t, s, "ann")+","+userID(t, s, "cleo")
	a := form(t, s, "conversations.invite", "channel", ops, "users", users)
	errs, _ := a.at("errors").([]any)
	if len(errs) != 1 || fmt.Sprint(errs[0]) != fmt.Sprint(map[string]any{"user": userID(t, s, "ann"), "ok": false, "error": "already_in_channel"}) {
		t.Errorf("errors = %v", errs)
	}
	a = form(t, s, "conversations.invite", "channel", ops, "users", users, "force", "true")
	c, _ := s.Channel("ops")
	if a.body["ok"] != true || !slices.Contains(c.Members, userID(t, s, "cleo")) {
		t.Errorf("force: %s, members %v", a.text, c.Members)
	}
}

// rule 79: A. Joining twice is fine, with a warning.
func TestJoinTwice(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	quiet := channelID(t, s, "quiet")
	for i, want := range []string{"", "already_in_channel"} {
		_, warning, _, err := client(s).JoinConversationContext(soon(t), quiet)
		if err != nil || warning != want {
			t.Errorf("join %d: %q, %v", i, warning, err)
		}
	}
}

// Channels as slack-go makes, lists and leaves them.
func TestChannelLife(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	api := client(s)
	c, err := api.CreateConversationContext(soon(t), slack.CreateConversationParams{ChannelName: "inc-1", IsPrivate: false})
	if err != nil || !c.IsMember || c.Creator != s.BotUserID() {
		t.Fatalf("CreateConversation() = %+v, %v", c, err)
	}
	if _, err := api.InviteUsersToConversationContext(soon(t), c.ID, userID(t, s, "ann")); err != nil {
		t.Error(err)
	}
	if got, err := api.SetTopicOfConversationContext(soon(t), c.ID, "db down"); err != nil || got.Topic.Value != "db down" {
		t.Errorf("SetTopic() = %+v, %v", got, err)
	}
	members, _, err := api.GetUsersInConversationContext(soon(t), &slack.GetUsersInConversationParameters{ChannelID: c.ID})
	if err != nil || len(members) != 2 {
		t.Errorf("members = %v, %v", members, err)
	}
	list, _, err := api.GetConversationsContext(soon(t), &slack.GetConversationsParameters{Types: []string{"public_channel", "private_channel"}, ExcludeArchived: true})
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	if want := "general ops secret quiet inc-1"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("channels = %q, want %q (%v)", strings.Join(names, " "), want, err)
	}
	mine, _, err := api.GetConversationsForUserContext(soon(t), &slack.GetConversationsForUserParameters{UserID: userID(t, s, "ben")})
	if err != nil || len(mine) != 3 {
		t.Errorf("ben's channels = %+v, %v", mine, err)
	}
	if err := api.ArchiveConversationContext(soon(t), c.ID); err != nil {
		t.Error(err)
	}
	dm, _, already, err := api.OpenConversationContext(soon(t), &slack.OpenConversationParameters{Users: []string{userID(t, s, "ann")}, ReturnIM: true})
	if err != nil || already || !strings.HasPrefix(dm.ID, "D") || dm.User != userID(t, s, "ann") {
		t.Errorf("OpenConversation() = %+v, %v, %v", dm, already, err)
	}
	if _, _, already, err = api.OpenConversationContext(soon(t), &slack.OpenConversationParameters{Users: []string{userID(t, s, "ann")}}); err != nil || !already {
		t.Errorf("again: %v, %v", already, err)
	}
	if group, _, _, err := api.OpenConversationContext(soon(t), &slack.OpenConversationParameters{Users: []string{userID(t, s, "ann"), userID(t, s, "ben")}}); err != nil || strings.HasPrefix(group.ID, "D") {
		t.Errorf("group: %+v, %v", group, err)
	}
}

// rule 83: A. On the free plan there are no user groups.
func TestUsergroups(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	g := s.AddUsergroup(slacksim.Usergroup{Handle: "oncall", Users: []string{"ann", "ben"}})
	s.AddUsergroup(slacksim.Usergroup{Handle: "former", Disabled: true})
	groups, err := client(s).GetUserGroupsContext(soon(t), slack.GetUserGroupsOptionIncludeUsers(true))
	if err != nil || len(groups) != 1 || groups[0].Handle != "oncall" || len(groups[0].Users) != 2 {
		t.Errorf("groups = %+v, %v", groups, err)
	}
	members, err := client(s).GetUserGroupMembersContext(soon(t), g.ID)
	if err != nil || len(members) != 2 {
		t.Errorf("members = %v, %v", members, err)
	}
	if m := say(t, s, "ann", "#ops", "ping @oncall"); m.Text != "ping <!subteam^"+g.ID+"|@oncall>" {
		t.Errorf("mention = %q", m.Text)
	}
	free := workspace(t, slacksim.Options{FreePlan: true})
	if _, err := client(free).GetUserGroupsContext(soon(t)); refused(err) != "plan_upgrade_required" {
		t.Errorf("free plan: %v", err)
	}
}

func TestItemRefusals(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	ts := say(t, s, "ann", "#ops", "hello").TS
	elsewhere := say(t, s, "ann", "#quiet", "hello").TS
	checkRefusals(t, s, []refusalRow{
		{"rule 84: A", "reactions.add", []string{"channel", ops, "timestamp", ts, "name", "eyes"}, ""},
		{"rule 84: A", "reactions.add", []string{"channel", ops, "timestamp", ts, "name", "eyes"}, "already_reacted"},
		{"rule 84: A", "reactions.add", []string{"channel", ops, "timestamp", ts, "name", "nonsense"}, "invalid_name"},
		{"rule 84: ?", "reactions.add", []string{"channel", ops, "timestamp", ts, "name", ":eyes:"}, "invalid_name"},
		{"reference", "reactions.add", []string{"channel", ops, "timestamp", "soon", "name", "eyes"}, "bad_timestamp"},
		{"reference", "reactions.add", []string{"channel", ops, "timestamp", "1.000001", "name", "eyes"}, "message_not_found"},
		{"reference", "reactions.remove", []string{"channel", ops, "timestamp", ts, "name", "tada"}, "no_reaction"},
		{"reference", "reactions.remove", []string{"name", "tada"}, "no_item_specified"},
		{"reference", "reactions.remove", []string{"channel", ops, "timestamp", ts, "name", "eyes"}, ""},
		{"reference", "reactions.get", []string{"channel", ops, "timestamp", ts}, ""},
		{"rule 85: A", "pins.add", []string{"channel", ops, "timestamp", ts}, ""},
		{"rule 85: A", "pins.add", []string{"channel", ops, "timestamp", ts}, "already_pinned"},
		{"rule 85: A", "pins.remove", []string{"channel", ops, "timestamp", ts}, ""},
		{"rule 85: A", "pins.remove", []string{"channel", ops, "timestamp", ts}, "no_pin"},
		{"reference", "pins.add", []string{"channel", ops}, "no_item_specified"},
		{"reference", "pins.add", []string{"channel", channelID(t, s, "quiet"), "timestamp", elsewhere}, "not_in_channel"},
		{"rule 86: A", "bookmarks.add", []string{"channel_id", ops, "title", "t", "type", "link", "link", "ftp://example.com"}, "invalid_link"},
		{"reference", "bookmarks.add", []string{"channel_id", ops, "title", "t", "type", "folder", "link", "https://example.com"}, "invalid_bookmark_type"},
		{"reference", "bookmarks.add", []string{"channel_id", ops, "title", strings.Repeat("t", 257), "type", "link", "link", "https://example.com"}, "invalid_arguments"},
		{"reference", "bookmarks.remove", []string{"channel_id", ops, "bookmark_id", "Bk1"}, "not_found"},
	})
	api := client(s)
	b, err := api.AddBookmarkContext(soon(t), ops, slack.AddBookmarkParameters{Title: "Run", Type: "link", Link: "https://example.com"})
	if err != nil {
		t.Fatal(err)
	}
	title := "Run 2"
	if b, err := api.EditBookmarkContext(soon(t), ops, b.ID, slack.EditBookmarkParameters{Title: &title}); err != nil || b.Title != title || b.Link != "https://example.com" {
		t.Errorf("EditBookmark() = %+v, %v", b, err)
	}
	if list, err := api.ListBookmarksContext(soon(t), ops); err != nil || len(list) != 1 {
		t.Errorf("ListBookmarks() = %+v, %v", list, err)
	}
	if err := api.RemoveBookmarkContext(soon(t), ops, b.ID); err != nil {
		t.Error(err)
	}
	if err := s.As("ann").Pin("#ops", ts); err != nil {
		t.Fatal(err)
	}
	pins, _, err := api.ListPinsContext(soon(t), ops)
	if err != nil || len(pins) != 1 || pins[0].Message.Timestamp != ts {
		t.Errorf("ListPins() = %+v, %v", pins, err)
	}
}

// rule 87: A,D. Completing needs known files; the message that shows them comes
// on its own.
// rule 88: X. The upload address is on the simulator's own origin, which
// slack-go insists on.
func TestUpload(t *testing.T) {
	t.Parallel()
	s := workspace(t)
	ops := channelID(t, s, "ops")
	api := client(s)
	summary, err := api.UploadFileContext(soon(t), slack.UploadFileParameters{
		Filename: "out.txt", Title: "Output", FileSize: 5, Reader: strings.NewReader("hello"), Channel: ops, InitialComment: "as asked",
	})
	if err != nil {
		t.Fatal(err)
	}
	m := s.ExpectMessage(t, "#ops", "as asked")
	if m.Subtype != "file_share" || len(m.Files) != 1 || m.Files[0].ID != summary.ID || string(m.Files[0].Content) != "hello" {
		t.Errorf("message = %+v", m)
	}
	info, _, _, err := api.GetFileInfoContext(soon(t), summary.ID, 0, 0)
	if err != nil || info.Title != "Output" || info.Size != 5 || !slices.Contains(info.Channels, ops) {
		t.Errorf("GetFileInfo() = %+v, %v", info, err)
	}
	var content bytes.Buffer
	if err := api.GetFileContext(soon(t), info.URLPrivateDownload, &content); err != nil || content.String() != "hello" {
		t.Errorf("GetFile() = %q, %v", content.String(), err)
	}
	if a := send(t, "GET", info.URLPrivate, "", "", ""); a.status != http.StatusNotFound {
		t.Errorf("without a token: %d", a.status)
	}
	checkRefusals(t, s, []refusalRow{
		{"rule 87: A,D", "files.completeUploadExternal", []string{"files", `[{"id":"F404"}]`}, "file_not_found"},
		{"reference", "files.completeUploadExternal", []string{"files", `[]`}, "invalid_arguments"},
		{"reference", "files.getUploadURLExternal", []string{"filename", "x"}, "missing_argument"},
		{"reference", "files.getUploadURLExternal", []string{"filename", "x", "length", "0"}, "invalid_arguments"},
		{"reference", "files.getUploadURLExternal", []string{"filename", "x", "length", "1", "alt_txt", strings.Repeat("x", 1001)}, "alt_txt_too_large"},
		{"reference", "files.info", []string{"file", "F404"}, "file_not_found"},
	})
	a := form(t, s, "files.getUploadURLExternal", "filename", "x.txt", "length", "3")
	id, at := a.str("file_id"), a.str("upload_url")
	if !strings.HasPrefix(at, s.URL()+"/") {
		t.Errorf("upload_url = %q", at)
	}
	if a := send(t, "POST", at, "application/octet-stream", "", "four"); a.status != http.StatusBadRequest {
		t.Errorf("wrong length: %d %s", a.status, a.text)
	}
	checkRefusals(t, s, []refusalRow{{"rule 87: A,D", "files.completeUploadExternal", []string{"files", `[{"id":"` + id + `"}]`}, "file_not_found"}})
	if a := send(t, "POST", at, "application/octet-stream", "", "abc"); a.status != 200 || a.text != "OK - 3" {
		t.Errorf("upload: %d %s", a.status, a.text)
	}
	if a := send(t, "POST", at, "application/octet-stream", "", "abc"); a.status == 200 {
		t.Error("the address took a second file")
	}
	checkRefusals(t, s, []refusalRow{
		{"reference", "files.completeUploadExternal", []string{"files", `[{"id":"` + id + `"}]`, "channel_id", "C404"}, "channel_not_found"},
		{"reference", "files.completeUploadExternal", []string{"files", `[{"id":"` + id + `"}]`, "channel_id", channelID(t, s, "quiet")}, "not_in_channel"},
		{"reference", "files.completeUploadExternal", []string{"files", `[{"id":"` + id + `","title":"T"}]`}, ""}, // stays private
	})
	if f, _ := s.File(id); !f.Complete || f.Title != "T" || len(f.Channels) != 0 {
		t.Errorf("file = %+v", f)
	}

	// What is deleted is gone for everybody; the message says that it was there.
	if err := api.DeleteFileContext(soon(t), summary.ID); err != nil {
		t.Fatal(err)
	}
	found, err := api.GetConversationHistoryContext(soon(t), &slack.GetConversationHistoryParameters{ChannelID: ops, Oldest: m.TS, Latest: m.TS, Inclusive: true})
	if err != nil || len(found.Messages) != 1 || len(found.Messages[0].Files) != 1 || found.Messages[0].Files[0].Mode != "tombstone" || found.Messages[0].Files[0].Name != "" {
		t.Errorf("after files.delete the message is %+v, %v", found, err)
	}
	ann, err := s.As("ann").Upload(ops, "", "mine.txt", "", []byte("mine"))
	if err != nil {
		t.Fatal(err)
	}
	checkRefusals(t, s, []refusalRow{
		{"reference", "files.delete", []string{"file", summary.ID}, "file_deleted"},
		{"reference", "files.delete", []string{"file", "F404"}, "file_not_found"},
		{"reference", "files.delete", []string{"file", ann.Files[0].ID}, "cant_delete_file"},
	})
}
