package sqlite

import (
	"errors"
	"maps"
	"testing"

	"github.com/seglog/seglog/engine"
)

func FuzzDecodeHeaders(f *testing.F) {
	for _, seed := range []string{"{}", `{"a":"b"}`, ` { "a" : "\u00fc" } `, "null", "[]", `{"a":1}`, `{"a":null}`, `{"a":"b"`, "{\"a\":\"\xff\"}", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		headers, err := decodeHeaders(text)
		if err != nil {
			if !errors.Is(err, engine.ErrEncoding) {
				t.Fatalf("%q gives %v", text, err)
			}
			return
		}
		if headers == nil {
			t.Fatalf("%q gives no map", text)
		}
		// What was read is written so that it is read again.
		again, err := encodeHeaders(headers)
		if err != nil {
			t.Fatalf("%q cannot be encoded: %v", headers, err)
		}
		if got, err := decodeHeaders(again); err != nil || !maps.Equal(got, headers) {
			t.Fatalf("%q became %q, %v", headers, got, err)
		}
	})
}
