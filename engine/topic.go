package engine

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// EventID numbers the events of one topic densely from 1. 0 means "before the
// first event".
type EventID uint64

const (
	// MaxTopicBytes is the longest topic name.
	MaxTopicBytes = 255
	// MaxConsumerBytes is the longest consumer id.
	MaxConsumerBytes = 1 << 10
)

// Topic is the validated name of a topic: 1 to [MaxTopicBytes] bytes of ASCII
// letters, digits, '.', '_' and '-'. It is comparable; the zero Topic is
// invalid and every call refuses it.
type Topic struct{ name string }

// NewTopic validates name. The error matches [ErrInvalidTopic].
func NewTopic(name string) (Topic, error) {
	if err := validateTopicName(name); err != nil {
		return Topic{}, err
	}
	return Topic{name}, nil
}

// MustTopic is NewTopic that panics: for constants and tests.
func MustTopic(name string) Topic {
	t, err := NewTopic(name)
	if err != nil {
		panic(err)
	}
	return t
}

// String returns the name as it was given.
func (t Topic) String() string { return t.name }

// Validate reports why the topic is refused; only the zero Topic is.
func (t Topic) Validate() error {
	if t.name == "" {
		return validateTopicName("")
	}
	return nil
}

// MarshalText returns the name; the zero Topic gives an empty text.
func (t Topic) MarshalText() ([]byte, error) { return []byte(t.name), nil }

// UnmarshalText validates text as [NewTopic] does.
func (t *Topic) UnmarshalText(text []byte) error {
	parsed, err := NewTopic(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

func validateTopicName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: topic cannot be empty", ErrInvalidTopic)
	}
	if len(name) > MaxTopicBytes {
		return fmt.Errorf("%w: topic %.40q… is %d bytes long, the limit is %d", ErrInvalidTopic, name, len(name), MaxTopicBytes)
	}
	for i := range len(name) {
		if !topicByte(name[i]) {
			return fmt.Errorf("%w: topic '%s' contains unsupported characters", ErrInvalidTopic, name)
		}
	}
	return nil
}

func topicByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// ConsumerID is the validated name of a consumer: valid UTF-8 of 1 to
// [MaxConsumerBytes] bytes that is not blank, kept exactly as given. It is
// comparable; the zero ConsumerID is invalid and every call refuses it.
type ConsumerID struct{ id string }

// NewConsumerID validates id. The error matches [ErrInvalidConsumer].
func NewConsumerID(id string) (ConsumerID, error) {
	if err := validateConsumerID(id); err != nil {
		return ConsumerID{}, err
	}
	return ConsumerID{id}, nil
}

// MustConsumerID is NewConsumerID that panics: for constants and tests.
func MustConsumerID(id string) ConsumerID {
	c, err := NewConsumerID(id)
	if err != nil {
		panic(err)
	}
	return c
}

// String returns the id as it was given.
func (c ConsumerID) String() string { return c.id }

// Validate reports why the consumer is refused; only the zero ConsumerID is.
func (c ConsumerID) Validate() error {
	if c.id == "" {
		return validateConsumerID("")
	}
	return nil
}

// MarshalText returns the id; the zero ConsumerID gives an empty text.
func (c ConsumerID) MarshalText() ([]byte, error) { return []byte(c.id), nil }

// UnmarshalText validates text as [NewConsumerID] does.
func (c *ConsumerID) UnmarshalText(text []byte) error {
	parsed, err := NewConsumerID(string(text))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

func validateConsumerID(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return fmt.Errorf("%w: consumer id cannot be empty", ErrInvalidConsumer)
	case len(id) > MaxConsumerBytes:
		return fmt.Errorf("%w: consumer id %.40q… is %d bytes long, the limit is %d", ErrInvalidConsumer, id, len(id), MaxConsumerBytes)
	case !utf8.ValidString(id):
		return fmt.Errorf("%w: consumer id %q is not valid UTF-8", ErrInvalidConsumer, id)
	}
	return nil
}
