package kit

import "strings"

// glyphs are the names that bots and people in operations use; any other
// name stays as it was typed.
var glyphs = map[string]string{
	"+1": "👍", "thumbsup": "👍", "-1": "👎", "thumbsdown": "👎", "clap": "👏", "wave": "👋", "pray": "🙏", "raised_hands": "🙌",
	"ok_hand": "👌", "muscle": "💪", "eyes": "👀", "point_right": "👉", "point_up": "☝️", "raised_hand": "✋", "hand": "✋",
	"white_check_mark": "✅", "heavy_check_mark": "✔️", "ballot_box_with_check": "☑️", "x": "❌", "heavy_multiplication_x": "✖️",
	"warning": "⚠️", "no_entry": "⛔", "no_entry_sign": "🚫", "octagonal_sign": "🛑", "rotating_light": "🚨", "construction": "🚧",
	"question": "❓", "grey_question": "❔", "exclamation": "❗", "bangbang": "‼️", "information_source": "ℹ️",
	"red_circle": "🔴", "large_orange_circle": "🟠", "large_yellow_circle": "🟡", "large_green_circle": "🟢", "large_blue_circle": "🔵",
	"white_circle": "⚪", "black_circle": "⚫", "large_blue_diamond": "🔷", "small_blue_diamond": "🔹", "small_orange_diamond": "🔸",
	"white_large_square": "⬜", "black_large_square": "⬛", "large_green_square": "🟩", "large_red_square": "🟥", "large_yellow_square": "🟨",
	"hourglass": "⌛", "hourglass_flowing_sand": "⏳", "stopwatch": "⏱️", "alarm_clock": "⏰", "timer_clock": "⏲️", "clock1": "🕐", "watch": "⌚",
	"arrow_forward": "▶️", "arrow_right": "➡️", "arrow_left": "⬅️", "arrow_up": "⬆️", "arrow_down": "⬇️", "arrows_counterclockwise": "🔄",
	"black_square_for_stop": "⏹️", "stop_button": "⏹️", "double_vertical_bar": "⏸️", "pause_button": "⏸️", "fast_forward": "⏩", "track_next": "⏭️",
	"repeat": "🔁", "leftwards_arrow_with_hook": "↩️", "mag": "🔍", "lock": "🔒", "unlock": "🔓", "key": "🔑", "bell": "🔔", "no_bell": "🔕",
	"fire": "🔥", "fire_engine": "🚒", "boom": "💥", "zap": "⚡", "bulb": "💡", "tada": "🎉", "rocket": "🚀", "sparkles": "✨", "star": "⭐",
	"bug": "🐛", "wrench": "🔧", "hammer": "🔨", "hammer_and_wrench": "🛠️", "gear": "⚙️", "robot_face": "🤖", "package": "📦", "wastebasket": "🗑️",
	"broom": "🧹", "syringe": "💉", "thermometer": "🌡️", "ambulance": "🚑", "hospital": "🏥", "adhesive_bandage": "🩹",
	"book": "📖", "books": "📚", "blue_book": "📘", "green_book": "📗", "orange_book": "📙", "closed_book": "📕", "notebook": "📓", "bookmark": "🔖",
	"clipboard": "📋", "memo": "📝", "pencil": "📝", "pencil2": "✏️", "page_facing_up": "📄", "file_folder": "📁", "paperclip": "📎", "link": "🔗",
	"chart_with_upwards_trend": "📈", "chart_with_downwards_trend": "📉", "bar_chart": "📊", "calendar": "📆", "date": "📅", "pushpin": "📌",
	"computer": "💻", "desktop_computer": "🖥️", "floppy_disk": "💾", "cd": "💿", "electric_plug": "🔌", "satellite": "📡", "globe_with_meridians": "🌐",
	"speech_balloon": "💬", "thought_balloon": "💭", "loudspeaker": "📢", "mega": "📣", "telephone": "☎️", "phone": "☎️", "pager": "📟", "email": "✉️", "envelope": "✉️",
	"smile": "😄", "slightly_smiling_face": "🙂", "grin": "😁", "joy": "😂", "wink": "😉", "thinking_face": "🤔", "sweat_smile": "😅", "sob": "😭", "scream": "😱",
	"heart": "❤️", "green_heart": "💚", "100": "💯", "coffee": "☕", "ghost": "👻", "skull": "💀", "sos": "🆘", "ok": "🆗", "new": "🆕", "stop_sign": "🛑",
	"bust_in_silhouette": "👤", "busts_in_silhouette": "👥", "male-technologist": "👨‍💻", "female-technologist": "👩‍💻", "firefighter": "🧑‍🚒", "cop": "👮",
	"one": "1️⃣", "two": "2️⃣", "three": "3️⃣", "four": "4️⃣", "five": "5️⃣", "heavy_plus_sign": "➕", "heavy_minus_sign": "➖", "checkered_flag": "🏁",
}

// Glyph is the character of an emoji's name, or the name in colons.
func Glyph(name string) string {
	base, _, _ := strings.Cut(name, "::")
	if g, ok := glyphs[base]; ok {
		return g
	}
	return ":" + name + ":"
}

// emojiName is the name of the emoji at the start of s, and its length with
// the colons; 0 when there is none.
func emojiName(s string) (name string, n int) {
	if s == "" || s[0] != ':' {
		return "", 0
	}
	for i := 1; i < len(s) && i < 64; i++ {
		switch c := s[i]; {
		case c == ':':
			return s[1:i], i + 1
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-', c == '+':
		default:
			return "", 0
		}
	}
	return "", 0
}

// emoji writes the emoji at the start of s and says how many bytes it took;
// 0 when there is none.
func (w *inliner) emoji(s string, enabled bool) int {
	name, n := emojiName(s)
	g, ok := glyphs[name]
	if !ok || !enabled {
		return 0
	}
	w.raw(`<span class="emoji" role="img" aria-label="` + esc(strings.ReplaceAll(name, "_", " ")) + `">` + g + `</span>`)
	return n
}

// emojis replaces the names in a plain text.
func emojis(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if name, n := emojiName(s[i:]); n > 0 && glyphs[name] != "" {
			b.WriteString(glyphs[name])
			i += n
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}
