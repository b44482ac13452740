package adaptertest

import (
	"errors"
	"strings"
	"testing"

	"github.com/seglog/seglog/engine"
)

// What values are valid is the engine package's to say, for all backends.

func TestTopicNamesThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"":                       "topic cannot be empty",
		"a b":                    "topic 'a b' contains unsupported characters",
		"a/b":                    "topic 'a/b' contains unsupported characters",
		"../x":                   "topic '../x' contains unsupported characters",
		"a\\b":                   "contains unsupported characters",
		"a:b":                    "contains unsupported characters",
		"ü":                      "topic 'ü' contains unsupported characters",
		"a\x00":                  "contains unsupported characters",
		"a\n":                    "contains unsupported characters",
		" a":                     "contains unsupported characters",
		"\xff":                   "contains unsupported characters",
		strings.Repeat("x", 256): "255",
	} {
		topic, err := engine.NewTopic(name)
		if !errors.Is(err, engine.ErrInvalidTopic) || !strings.Contains(err.Error(), text) {
			t.Errorf("NewTopic(%.20q) gave %v, want ErrInvalidTopic that says %q", name, err, text)
		}
		if topic != (engine.Topic{}) {
			t.Errorf("NewTopic(%.20q) gave topic %v beside its error", name, topic)
		}
	}
}

func TestConsumerIDsThatAreRefused(t *testing.T) {
	for id, text := range map[string]string{
		"":                        "consumer id cannot be empty",
		"  ":                      "consumer id cannot be empty",
		"\t\n":                    "consumer id cannot be empty",
		"\u00a0\u2003":            "consumer id cannot be empty",
		strings.Repeat("x", 1025): "1024",
		"\xff":                    "UTF-8",
	} {
		if _, err := engine.NewConsumerID(id); !errors.Is(err, engine.ErrInvalidConsumer) || !strings.Contains(err.Error(), text) {
			t.Errorf("NewConsumerID(%.20q) gave %v, want ErrInvalidConsumer that says %q", id, err, text)
		}
	}
	if c, err := engine.NewConsumerID("  kept as it is "); err != nil || c.String() != "  kept as it is " {
		t.Errorf("NewConsumerID gave %q, %v, want the id as given", c, err)
	}
}
