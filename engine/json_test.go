package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func jsonSamples() []string {
	samples := []string{
		``, ` `, `1`, ` 1 `, `-`, `-1`, `01`, `1.`, `1.0`, `.5`, `1e`, `1e5`, `1E+05`, `1e-`, `1e400`, `--1`, `+1`, `1 2`, `1,`,
		`true`, `tru`, `truex`, `false`, `null`, `nul`, `"`, `""`, `"a`, `"a"b`, `"\"`, `"\\"`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\uD800"`,
		"\"\x1f\"", "\"\x7f\"", "\"\xff\"", `"é"`, "\xef\xbb\xbf1", "\"12345678\x01\"", "\"1234567\xc3\xa9\"", "é",
		`{}`, `{`, `}`, `[`, `]`, `[]`, `[}`, `{]`, `[1]`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":1,}`, `{"a":1,"b":[{}]}`, `{a:1}`, `{1:1}`,
		` { "a" : [ 1 , { "b" : null } ] } `, `[[]]`, `[[],{}]`, `{"a":{}}x`, `"0123456789abcdef\n0123456789abcdef"`, "\"\\\n\"",
	}
	for _, depth := range []int{31, 32, 33, jsonDepthMax, jsonDepthMax + 1} {
		samples = append(samples, strings.Repeat("[", depth)+strings.Repeat("]", depth), strings.Repeat(`{"":`, depth)+"1"+strings.Repeat("}", depth))
	}
	return samples
}

func TestValidJSONAgreesWithTheStandardLibrary(t *testing.T) {
	for _, s := range jsonSamples() {
		if got, want := validJSON([]byte(s)), json.Valid([]byte(s)) && utf8.ValidString(s); got != want {
			t.Errorf("%.60q: got %v, want %v", s, got, want)
		}
	}
}

func TestValidJSONDoesNotAllocate(t *testing.T) {
	payload := []byte(`{"a":[1,{"b":"c"}]}`)
	if n := testing.AllocsPerRun(100, func() { validJSON(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, s := range jsonSamples() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := validJSON(b), json.Valid(b) && utf8.Valid(b); got != want {
			t.Errorf("%q: got %v, want %v", b, got, want)
		}
	})
}

func BenchmarkValidJSON(b *testing.B) {
	for _, c := range []struct{ name, payload string }{
		{"text", `"` + strings.Repeat("x", 254) + `"`},
		{"note", `{"job":"9f2c5a7e11d04b38","attempt":3,"note":"` + strings.Repeat("the worker wrote a segment ", 8) + `"}`},
		{"cyrillic", `"` + strings.Repeat("ж", 127) + `"`},
		{"object", `{"id":123456,"name":"somebody@example.org","tags":["a","b","c"],"nested":{"ok":true,"n":1.5e3,"at":"2026-01-01T00:00:00Z"},"text":"the quick brown fox jumps over the lazy dog"}`},
	} {
		payload := []byte(c.payload)
		b.Run(fmt.Sprintf("ours/%s", c.name), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if !validJSON(payload) {
					b.Fatal("not valid")
				}
			}
		})
		b.Run(fmt.Sprintf("std/%s", c.name), func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				json.Valid(payload)
			}
		})
	}
}
