package blocks

// Slack's limits, in characters unless said otherwise, from
// docs.slack.dev/reference/block-kit and docs.slack.dev/reference/views.
const (
	maxMessageBlocks = 50
	maxSection       = 3000 // text of a section or a context element
	maxHeader        = 150
	maxElements      = 25 // of an actions block
	maxButton        = 75
	maxValue         = 2000
	maxID            = 255 // action_id, block_id, callback_id
	maxDialogTitle   = 100
	maxDialogText    = 300
	maxDialogLabel   = 30
	maxOptions       = 100
	maxOptionText    = 75
	maxOptionValue   = 150
	maxInput         = 3000 // max_length of a text input
	maxViewTitle     = 24   // title, submit, close
	maxMetadata      = 3000
)

// Our own, stricter ones.
const (
	// maxText is kept below what chat.update takes (4,000), because any
	// message may be edited later.
	maxText = 3000
	// maxContent and maxButtons share out the text that all blocks of one
	// message may hold together. Slack refuses somewhere above 13,200
	// (undocumented: msg_blocks_too_long); 12,000 is known to pass.
	maxContent = 9000
	maxButtons = 3000
	// maxCode is how much of an output stands in a message; the rest is a file.
	maxCode = 2500
	// maxFields is how many inputs a form shows.
	maxFields = 40
)
