package slacksim

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// messageJSON is a message as Slack answers it. Metadata is whole only on
// request, otherwise just its event_type.
func (s *Server) messageJSON(m *Message, allMetadata bool) obj {
	if m.Tombstone {
		out := obj{
			"type": "message", "subtype": "tombstone", "text": deletedText, "user": "USLACKBOT", "hidden": true,
			"ts": m.TS, "thread_ts": m.TS, "is_locked": false,
		}
		s.threadJSON(m, out)
		return out
	}
	out := obj{"type": "message", "text": m.Text, "ts": m.TS, "team": s.app.teamID}
	if m.User != "" {
		out["user"] = m.User
	}
	if m.Subtype != "" {
		out["subtype"] = m.Subtype
	}
	if m.BotID != "" {
		out["bot_id"] = m.BotID
		out["app_id"] = s.app.appID
		out["bot_profile"] = s.botProfile()
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	if len(m.Blocks) > 0 {
		out["blocks"] = m.Blocks
	}
	if len(m.Attachments) > 0 {
		out["attachments"] = m.Attachments
	}
	if m.Edited {
		out["edited"] = obj{"user": m.User, "ts": m.TS}
	}
	if len(m.Reactions) > 0 {
		out["reactions"] = m.Reactions
	}
	if m.Pinned {
		out["pinned_to"] = []string{m.Channel}
	}
	if len(m.Files) > 0 {
		var files []obj
		for i := range m.Files {
			files = append(files, s.fileJSON(&m.Files[i]))
		}
		out["files"] = files
	}
	if m.ReplyCount > 0 {
		s.threadJSON(m, out)
	}
	if len(m.Metadata) > 0 {
		out["metadata"] = m.Metadata
		if !allMetadata {
			var only struct {
				Type string `json:"event_type"`
			}
			if err := json.Unmarshal(m.Metadata, &only); err == nil {
				out["metadata"] = obj{"event_type": only.Type}
			}
		}
	}
	return out
}

// threadJSON adds what a parent says of its replies.
func (s *Server) threadJSON(m *Message, out obj) {
	users, latest := []string{}, ""
	for _, r := range s.channels[m.Channel].threads[m.TS] {
		if !r.Deleted {
			latest = r.TS
			if r.User != "" && !slices.Contains(users, r.User) {
				users = append(users, r.User)
			}
		}
	}
	out["reply_count"], out["reply_users"], out["reply_users_count"], out["latest_reply"] = m.ReplyCount, users, len(users), latest
}

func (s *Server) botProfile() obj {
	return obj{
		"id": s.app.botID, "app_id": s.app.appID, "user_id": s.app.botUserID, "name": s.users[s.app.botUserID].RealName,
		"deleted": false, "updated": 1, "team_id": s.app.teamID,
		"icons": obj{"image_36": s.url + "/files/icon.png", "image_48": s.url + "/files/icon.png", "image_72": s.url + "/files/icon.png"},
	}
}

func (s *Server) channelJSON(c *channel) obj {
	if c.IM {
		other := ""
		for _, m := range c.Members {
			if m != s.app.botUserID {
				other = m
			}
		}
		return obj{
			"id": c.ID, "created": c.Created.Unix(), "is_archived": false, "is_im": true, "is_org_shared": false, "user": other,
			"is_user_deleted": false, "priority": 0,
		}
	}
	part := func(value, creator string, at time.Time) obj {
		set := int64(0)
		if !at.IsZero() {
			set = at.Unix()
		}
		return obj{"value": value, "creator": creator, "last_set": set}
	}
	name := c.Name
	if c.MPIM {
		name = "mpdm-" + strings.ToLower(c.ID)
	}
	return obj{
		"id": c.ID, "name": name, "name_normalized": name, "is_channel": !c.Private, "is_group": c.Private && !c.MPIM, "is_im": false,
		"is_mpim": c.MPIM, "is_private": c.Private, "created": c.Created.Unix(), "creator": c.Creator, "is_archived": c.Archived,
		"is_general": c.General, "unlinked": 0, "is_shared": false, "is_ext_shared": false, "is_org_shared": false,
		"pending_shared": []string{}, "is_pending_ext_shared": false, "is_member": c.has(s.app.botUserID),
		"topic": part(c.Topic, c.topicBy, c.topicAt), "purpose": part(c.Purpose, c.purposeBy, c.purposeAt),
		"previous_names": append([]string{}, c.previous...),
	}
}

func (s *Server) userJSON(u *User) obj {
	offset := 0
	label := u.TZ
	if loc, err := time.LoadLocation(u.TZ); err == nil {
		label, offset = s.clock.now().In(loc).Zone()
	}
	image := s.url + "/files/icon.png"
	profile := obj{
		"avatar_hash": "sim", "real_name": u.RealName, "real_name_normalized": u.RealName, "display_name": u.Name,
		"display_name_normalized": u.Name, "status_text": "", "status_emoji": "", "team": s.app.teamID,
		"image_24": image, "image_32": image, "image_48": image, "image_72": image, "image_192": image, "image_512": image,
	}
	if u.Email != "" && s.scopes["users:read.email"] {
		profile["email"] = u.Email
	}
	if u.Bot {
		profile["bot_id"], profile["api_app_id"] = s.app.botID, s.app.appID
	}
	return obj{
		"id": u.ID, "team_id": s.app.teamID, "name": u.Name, "deleted": u.Deactivated, "color": "9f69e7", "real_name": u.RealName,
		"tz": u.TZ, "tz_label": label, "tz_offset": offset, "profile": profile, "is_admin": u.Admin, "is_owner": false,
		"is_primary_owner": false, "is_restricted": u.Guest, "is_ultra_restricted": false, "is_bot": u.Bot, "is_app_user": false, "updated": 1,
	}
}

// fileJSON is a file as files.info and messages show it.
func (s *Server) fileJSON(f *File) obj {
	if f.Deleted {
		return obj{"id": f.ID, "mode": "tombstone"}
	}
	ext := strings.TrimPrefix(path.Ext(f.Name), ".")
	channels := append([]string{}, f.Channels...)
	return obj{
		"id": f.ID, "created": s.clock.now().Unix(), "timestamp": s.clock.now().Unix(), "name": f.Name, "title": f.Title,
		"mimetype": "text/plain", "filetype": ext, "pretty_type": strings.ToUpper(ext), "user": f.User, "editable": false, "size": f.Size,
		"mode": "hosted", "is_external": false, "external_type": "", "is_public": len(channels) > 0, "public_url_shared": false,
		"display_as_bot": false, "username": "", "url_private": s.url + "/files/" + f.ID + "/" + f.Name,
		"url_private_download": s.url + "/files/" + f.ID + "/download/" + f.Name, "permalink": s.permalink("", f.ID),
		"channels": channels, "groups": []string{}, "ims": []string{}, "comments_count": 0, "has_rich_preview": false, "alt_txt": f.AltText,
	}
}

// permalink is the address of a message, or of a file when channel is empty.
func (s *Server) permalink(channel, id string) string {
	base := "https://" + s.app.teamDomain + ".slack.com/"
	if channel == "" {
		return base + "files/" + s.app.botUserID + "/" + id
	}
	return base + "archives/" + channel + "/p" + strings.ReplaceAll(id, ".", "")
}
