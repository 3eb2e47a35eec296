package postgres

import (
	"bytes"
	"strings"
)

// A lexer splits SQL into words and statements as psql does: it knows quotes,
// dollar quotes, comments, bodies of SQL functions and the rows after COPY. It
// takes text in pieces of any size and keeps a bounded part of it.
type lexer struct {
	line int // of what is read, from 1

	mode   mode
	depth  int    // of nested block comments
	escape bool   // a backslash escapes in this string: E'…'
	skip   bool   // the next character is escaped
	tag    []byte // of the open dollar quote, with its dollars
	seen   []byte // the end of what was read, as far as it matters
	word   []byte
	last   byte // character before, 0 at the start
	parens int
	begins int // of nested BEGIN … END and CASE … END in a function's body

	words  []string // of the statement, the first few; names in quotes keep them
	tail   [2]string
	first  int // line where the statement began
	length int // of all its words

	onToken     func(token string)                   // each word, name or sign; "'" for a string, "$$" for a quoted one
	onDrop      func()                               // the last token was the beginning of a comment
	onStatement func(words []string, tail [2]string) // at its semicolon
	onComment   func(text string)                    // a line comment that begins a line
	onMeta      func(text string)                    // a line that begins with a backslash
	onRow       func()                               // a row after COPY
	onCopyEnd   func()
}

type mode int

const (
	inSQL mode = iota
	inString
	inName
	inDollar
	inLine
	inBlock
	inMeta
	inRest // of the line that COPY ends
	inRows
)

const (
	maxWords = 12
	maxWord  = 200
)

func newLexer() *lexer { return &lexer{line: 1} }

// Write takes the next piece.
func (l *lexer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if l.mode == inRows {
			p = l.rows(p)
			continue
		}
		l.next(p[0])
		p = p[1:]
	}
	return n, nil
}

// data says that rows follow the statement, from the next line on.
func (l *lexer) data() { l.mode = inRest }

// rows reads what follows COPY, line by line, up to a line of \. alone.
func (l *lexer) rows(p []byte) []byte {
	end := bytes.IndexByte(p, '\n')
	part := p
	if end >= 0 {
		part = p[:end]
	}
	if room := 4 - len(l.seen); room > 0 {
		l.seen = append(l.seen, part[:min(room, len(part))]...)
	}
	if end < 0 {
		return nil
	}
	l.line++
	over := string(l.seen) == `\.` || string(l.seen) == "\\.\r"
	l.seen = l.seen[:0]
	if !over {
		if l.onRow != nil {
			l.onRow()
		}
		return p[end+1:]
	}
	l.mode, l.last = inSQL, '\n'
	if l.onCopyEnd != nil {
		l.onCopyEnd()
	}
	return p[end+1:]
}

func (l *lexer) next(b byte) {
	if b == '\n' {
		l.line++
	}
	switch l.mode {
	case inSQL:
		l.sql(b)
	case inString:
		switch {
		case l.skip:
			l.skip = false
		case b == '\\' && l.escape:
			l.skip = true
		case b == '\'':
			l.mode = inSQL // two of them close and open again
			l.last = b
		}
	case inName:
		l.grow(b)
		if b == '"' {
			l.mode = inSQL
		}
	case inDollar:
		l.seen = append(l.seen, b)
		if len(l.seen) > len(l.tag) {
			l.seen = append(l.seen[:0], l.seen[len(l.seen)-len(l.tag):]...)
		}
		if b == '$' && bytes.Equal(l.seen, l.tag) {
			l.mode, l.seen = inSQL, l.seen[:0]
		}
	case inLine, inMeta:
		if b != '\n' {
			if len(l.seen) < maxWord {
				l.seen = append(l.seen, b)
			}
			return
		}
		l.lineEnds()
	case inRest:
		if b == '\n' {
			l.mode, l.seen = inRows, l.seen[:0]
		}
	case inBlock:
		switch {
		case l.last == '*' && b == '/':
			l.depth--
			b = 0
		case l.last == '/' && b == '*':
			l.depth++
			b = 0
		}
		if l.depth == 0 {
			l.mode = inSQL
		}
		l.last = b
	}
}

// lineEnds hands out a comment or a command of psql.
func (l *lexer) lineEnds() {
	text := strings.TrimRight(string(l.seen), "\r")
	was := l.mode
	l.mode, l.last, l.seen = inSQL, '\n', l.seen[:0]
	switch {
	case was == inMeta && l.onMeta != nil:
		l.onMeta(text)
	case was == inLine && l.onComment != nil:
		l.onComment(text)
	}
}

func (l *lexer) sql(b byte) {
	prev := l.last
	l.last = b
	switch {
	case letter(b) || b >= '0' && b <= '9' && len(l.word) > 0 || b >= '0' && b <= '9':
		l.grow(b)
		return
	case b == '$':
		if l.dollar() {
			return
		}
		l.seen = append(l.seen[:0], '$')
		l.flush()
		return
	}
	l.seen = l.seen[:0] // no tag of a dollar quote has such a character
	switch {
	case b == '\'':
		l.escape = len(l.word) == 1 && (l.word[0] == 'e' || l.word[0] == 'E')
		if l.escape {
			l.word = l.word[:0]
		}
		l.flush()
		l.mode, l.skip = inString, false
		if prev == '\'' && l.tail[1] == "'" {
			return // the same string goes on
		}
		l.add("'")
	case b == '"':
		l.flush()
		l.grow(b)
		l.mode = inName
	case b == '-' && prev == '-':
		l.flush()
		l.drop("-")
		l.mode, l.seen = inLine, append(l.seen[:0], "--"...)
	case b == '*' && prev == '/':
		l.flush()
		l.drop("/")
		l.mode, l.depth, l.last = inBlock, 1, 0
	case b == '\\':
		l.flush()
		l.mode, l.seen = inMeta, append(l.seen[:0], b)
	case b == ';':
		l.flush()
		l.semicolon()
	case b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f' || b == '\v':
		l.flush()
	default:
		l.flush()
		switch b {
		case '(':
			l.parens++
		case ')':
			l.parens = max(l.parens-1, 0)
		}
		l.add(string(b))
	}
}

// dollar reports whether a dollar is part of a word, or ends the tag that
// opens a dollar quote. Its first dollar is what seen holds.
func (l *lexer) dollar() bool {
	switch {
	case len(l.seen) == 1 && l.seen[0] == '$': // $ … $
		if len(l.word) > 0 && l.word[0] >= '0' && l.word[0] <= '9' {
			return false // $1$ is no tag
		}
		l.tag = append(append(append(l.tag[:0], '$'), l.word...), '$')
		l.word, l.seen = l.word[:0], l.seen[:0]
		l.mode = inDollar
		l.add("$$")
		return true
	case len(l.word) > 0: // a$b
		l.grow('$')
		return true
	}
	return false
}

func letter(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' || b >= 0x80
}

func (l *lexer) grow(b byte) {
	if len(l.word) < maxWord {
		l.word = append(l.word, b)
	}
}

// flush ends a word.
func (l *lexer) flush() {
	if len(l.word) == 0 {
		return
	}
	word := string(l.word)
	l.word = l.word[:0]
	if word[0] != '"' {
		l.nest(strings.ToUpper(word))
	}
	l.add(word)
}

// nest follows the body of an SQL function, in which semicolons end nothing.
func (l *lexer) nest(word string) {
	if l.length == 0 || !strings.EqualFold(l.words[0], "CREATE") || l.parens > 0 {
		return
	}
	switch word {
	case "BEGIN":
		if routine(l.words) {
			l.begins++
		}
	case "CASE":
		if l.begins > 0 {
			l.begins++
		}
	case "END":
		l.begins = max(l.begins-1, 0)
	}
}

// routine reports whether the statement makes a function or procedure.
func routine(words []string) bool {
	for _, w := range words[1:min(4, len(words))] {
		if strings.EqualFold(w, "FUNCTION") || strings.EqualFold(w, "PROCEDURE") {
			return true
		}
	}
	return false
}

func (l *lexer) add(word string) {
	if l.onToken != nil {
		l.onToken(word)
	}
	if l.length == 0 {
		l.first = l.line
	}
	if len(l.words) < maxWords {
		l.words = append(l.words, word)
	}
	l.length++
	l.tail[0], l.tail[1] = l.tail[1], word
}

// drop takes back the last character, which turned out to begin a comment.
func (l *lexer) drop(word string) {
	if l.tail[1] != word {
		return
	}
	if l.onDrop != nil {
		l.onDrop()
	}
	if l.length == len(l.words) {
		l.words = l.words[:len(l.words)-1]
	}
	l.length--
	l.tail[1], l.tail[0] = l.tail[0], ""
}

func (l *lexer) semicolon() {
	if l.begins > 0 || l.parens > 0 {
		return
	}
	l.ended()
}

func (l *lexer) ended() {
	words, tail := l.words, l.tail
	some := l.length > 0
	l.length, l.words, l.tail, l.begins, l.parens = 0, nil, [2]string{}, 0, 0
	if some && l.onStatement != nil {
		l.onStatement(words, tail)
	}
}

// Close ends the text: what is open is closed. It reports whether the text
// ended outside of quotes, comments, rows and statements.
func (l *lexer) Close() (whole bool) {
	if l.mode == inLine || l.mode == inMeta {
		l.lineEnds()
	}
	whole = l.mode == inSQL
	l.flush()
	whole = whole && l.length == 0
	l.ended()
	return whole
}
