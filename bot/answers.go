package bot

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// An outcome says what Slack's answer to a call means for the one who called.
type outcome int

const (
	fine    outcome = iota // done
	limited                // not done; come back after the wait
	unclear                // no usable answer: done or not, nobody knows
	locked                 // the token or the app is refused: nothing works until somebody helps
	nowhere                // the place cannot be written to, and waiting does not change that
	gone                   // the message to edit, or the thread to answer in, is no more
	refused                // Slack does not take what was sent
)

// Slack's words for it. Sources: the errors of chat.postMessage, chat.update,
// chat.postEphemeral, files.completeUploadExternal and views.open in Slack's
// method reference.
var outcomes = map[string]outcome{
	"ratelimited": limited, "rate_limited": limited, "message_limit_exceeded": limited, "restricted_too_many": limited,

	"internal_error": unclear, "fatal_error": unclear, "service_unavailable": unclear, "request_timeout": unclear,
	"team_added_to_org": unclear, "accesslimited": unclear,

	"invalid_auth": locked, "not_authed": locked, "account_inactive": locked, "token_revoked": locked, "token_expired": locked,
	"not_allowed_token_type": locked, "missing_scope": locked, "no_permission": locked, "org_login_required": locked,
	"access_denied": locked, "ekm_access_denied": locked, "two_factor_setup_required": locked, "team_access_not_granted": locked,

	"channel_not_found": nowhere, "not_in_channel": nowhere, "is_archived": nowhere, "is_inactive": nowhere,
	"user_not_in_channel": nowhere, "user_not_found": nowhere, "user_disabled": nowhere, "restricted_action": nowhere,
	"restricted_action_read_only_channel": nowhere, "restricted_action_thread_only_channel": nowhere,
	"restricted_action_non_threadable_channel": nowhere, "restricted_action_thread_locked": nowhere,
	"messages_tab_disabled": nowhere, "posting_to_channel_denied": nowhere, "invalid_channel": nowhere,
	"cannot_dm_bot": nowhere, "team_not_found": nowhere, "external_channel_migrating": nowhere,
	"file_uploads_disabled": nowhere, "slack_connect_file_upload_sharing_blocked": nowhere,

	"message_not_found": gone, "cant_update_message": gone, "edit_window_closed": gone, "thread_not_found": gone,
	"cannot_reply_to_message": gone, "invalid_thread_ts": gone, "thread_locked": gone,
}

// judge reads the answer to a call. The wait is only set for limited, and is
// zero when Slack did not say how long.
func judge(err error) (o outcome, wait time.Duration) {
	if err == nil {
		return fine, 0
	}
	var rate *slack.RateLimitedError
	if errors.As(err, &rate) {
		return limited, rate.RetryAfter
	}
	var status slack.StatusCodeError
	if errors.As(err, &status) {
		switch {
		case status.Code == http.StatusTooManyRequests:
			return limited, 0
		case status.Code >= 500 || status.Code == http.StatusRequestTimeout:
			return unclear, 0
		default:
			return refused, 0
		}
	}
	var said slack.SlackErrorResponse
	if errors.As(err, &said) {
		if o, known := outcomes[said.Err]; known {
			return o, 0
		}
		if strings.HasPrefix(said.Err, "restricted_action") {
			return nowhere, 0
		}
		return refused, 0
	}
	if errors.Is(err, errForeignURL) {
		return refused, 0
	}
	return unclear, 0
}

// word returns Slack's name for the error, or how else it shows.
func word(err error) string {
	var said slack.SlackErrorResponse
	var status slack.StatusCodeError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &said):
		return said.Err
	case errors.As(err, &status):
		return "http_" + http.StatusText(status.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	if o, _ := judge(err); o == limited {
		return "ratelimited"
	}
	return "no_answer"
}

// details is what helps somebody who must mend a refused message: Slack's
// explanations with their JSON pointers.
func details(err error) []string {
	var said slack.SlackErrorResponse
	if errors.As(err, &said) {
		return said.ResponseMetadata.Messages
	}
	return nil
}
