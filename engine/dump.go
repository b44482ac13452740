package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
)

// ManifestDump is what a manifest file says, for tools.
type ManifestDump struct {
	Log           string          `json:"log"` // uuid
	Generation    uint64          `json:"generation"`
	Frames        uint64          `json:"frames"`
	Bytes         int64           `json:"bytes"` // that verify
	TornBytes     int64           `json:"torn_bytes,omitempty"`
	CheckpointLSN uint64          `json:"checkpoint_lsn"`
	Position      uint64          `json:"position"`
	NextSegment   uint64          `json:"next_segment"`
	Topics        []TopicDump     `json:"topics"`
	CarryFiles    []CarryDump     `json:"carry_files"`
	Dropped       []string        `json:"dropped"` // files that may not be removed yet
	Damage        []*CorruptError `json:"damage,omitempty"`
}

// TopicDump is what a manifest says of one topic.
type TopicDump struct {
	Topic     Topic         `json:"topic"`
	Number    uint64        `json:"number"`
	Latest    EventID       `json:"latest"`
	First     EventID       `json:"first"`
	Segments  []SegmentDump `json:"segments,omitempty"`
	Carried   []CarriedDump `json:"carried,omitempty"`
	Lost      []LostDump    `json:"lost,omitempty"`
	Consumers int           `json:"consumers"`
}

// SegmentDump is what a manifest says of one segment file.
type SegmentDump struct {
	File    string  `json:"file"`
	First   EventID `json:"first"`
	Last    EventID `json:"last"`
	Durable int64   `json:"durable_bytes"`
	Sealed  bool    `json:"sealed"`
}

// CarriedDump says where in a carry file some of a topic's events are.
type CarriedDump struct {
	File   string  `json:"file"`
	Offset int64   `json:"offset"`
	Bytes  uint32  `json:"bytes"`
	First  EventID `json:"first"`
	Last   EventID `json:"last"`
}

// LostDump is a range of events that did not verify when they were to be moved.
type LostDump struct {
	File   string  `json:"file"`
	Offset int64   `json:"offset"`
	First  EventID `json:"first"`
	Last   EventID `json:"last"`
	Reason string  `json:"reason"`
}

// CarryDump is what a manifest says of one carry file.
type CarryDump struct {
	File    string `json:"file"`
	Durable int64  `json:"durable_bytes"`
}

// DumpManifest reads the manifest file of the given name, for the tools of this
// module. Where a frame is damaged it says what the frames before it do.
func DumpManifest(fs vfs.FS, name string) (*ManifestDump, error) {
	hex, ok := strings.CutPrefix(name, "manifest-")
	gen, err := strconv.ParseUint(hex, 16, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: %q is not the name of a manifest", ErrConfig, name)
	}
	l, err := readManifestFrames(fs, gen)
	var corrupt *CorruptError
	if err != nil && !errors.As(err, &corrupt) {
		return nil, err
	}
	s := l.state
	d := &ManifestDump{
		Log: fmt.Sprintf("%x", s.uuid), Generation: gen, Frames: l.seq, Bytes: l.size, TornBytes: l.torn,
		CheckpointLSN: uint64(s.checkpoint.LSN), Position: s.position, NextSegment: s.nextSegment,
	}
	for _, id := range sortedKeys(s.carries) {
		d.CarryFiles = append(d.CarryFiles, CarryDump{File: carryName(id), Durable: s.carries[id].durable})
	}
	for _, id := range sortedKeys(s.tombstones) {
		d.Dropped = append(d.Dropped, segment.FileName(s.tombstones[id]))
	}
	for _, num := range sortedKeys(s.topics) {
		d.Topics = append(d.Topics, s.topics[num].dump(len(s.cursors.List(num))))
	}
	for _, bad := range l.damage {
		d.Damage = append(d.Damage, bad.err)
	}
	if corrupt != nil {
		d.Damage = append(d.Damage, corrupt)
	}
	return d, nil
}

func (m *topicMeta) dump(consumers int) TopicDump {
	d := TopicDump{Topic: m.name, Number: m.topic, Latest: EventID(m.latest), First: EventID(m.low), Consumers: consumers}
	for _, s := range m.segments {
		d.Segments = append(d.Segments, SegmentDump{File: segment.FileName(s.id), First: EventID(s.first), Last: EventID(s.last), Durable: s.durable, Sealed: s.sealed})
	}
	for i := range m.carried {
		c := &m.carried[i]
		d.Carried = append(d.Carried, CarriedDump{
			File: carryName(c.carry), Offset: c.Offset, Bytes: c.Stored,
			First: EventID(c.First), Last: EventID(c.Last),
		})
	}
	return d
}

func carryName(id uint64) string { return segment.FileName(segment.Identity{ID: id}) }
