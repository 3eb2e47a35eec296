package postgres

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func lex(t testing.TB, r io.Reader) (statements []string, whole bool) {
	t.Helper()
	l := newLexer()
	l.onStatement = func(words []string, tail [2]string) {
		statements = append(statements, strings.Join(words, " "))
		if words[0] == "COPY" && strings.EqualFold(tail[1], "stdin") {
			l.data()
		}
	}
	l.onRow = func() { statements = append(statements, "row") }
	l.onMeta = func(text string) { statements = append(statements, text) }
	if _, err := io.Copy(l, r); err != nil {
		t.Fatal(err)
	}
	return statements, l.Close()
}

func TestLexer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		want  []string
		whole bool
	}{
		{"select 1; select 2;", []string{"select 1", "select 2"}, true},
		{"select 1", []string{"select 1"}, false},
		{"select ';', E'\\';', 'it''s;' ; ", []string{"select ' , ' , '"}, true},
		{"select \"a;b\".c -- ; not\n, /* ; /* ; */ ; */ 2 - 1 / 3;", []string{`select "a;b" . c , 2 - 1 / 3`}, true},
		{"select $$ ; $x$ ; $$, $x$ $$; $x$, $1, a$b$c;", []string{"select $$ , $$ , 1 , a$b$c"}, true},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; select 3;",
			[]string{"CREATE FUNCTION f ( ) RETURNS int BEGIN ATOMIC SELECT CASE WHEN", "select 3"}, true},
		{"COPY public.t (a, \"b c\") FROM stdin;\n1\t;\n\\N\t'\n\\.\nselect 1;", []string{`COPY public . t ( a , "b c" ) FROM stdin`, "row", "row", "select 1"}, true},
		{"\\connect x\nselect 1;\\! rm\n", []string{`\connect x`, "select 1", `\! rm`}, true},
		{"select 'open", []string{"select '"}, false},
		{"/* open", nil, false},
		{"", nil, true},
	} {
		got, whole := lex(t, strings.NewReader(c.text))
		if !slices.Equal(got, c.want) || whole != c.whole {
			t.Errorf("%q:\n got %q %v\nwant %q %v", c.text, got, whole, c.want, c.whole)
		}
		slow, _ := lex(t, iotest.OneByteReader(strings.NewReader(c.text)))
		if !slices.Equal(slow, got) {
			t.Errorf("%q byte by byte: %q, at once: %q", c.text, slow, got)
		}
	}
}
