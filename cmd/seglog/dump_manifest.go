package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/seglog/seglog/engine"
)

// manifest prints what a manifest file says, once all its frames are applied.
func (d *dumper) manifest(head []byte) error {
	name := d.fs.file
	if strings.HasPrefix(string(head), manifestMagic) && len(head) >= 40 { // see engine/FORMAT.md
		name = fmt.Sprintf("manifest-%016x", binary.LittleEndian.Uint64(head[32:]))
	}
	m, err := engine.DumpManifest(d.fs, name)
	if err != nil {
		return err
	}
	if err := d.about(manifestRow{
		Type: "manifest", File: name, UUID: m.Log, Generation: m.Generation, Frames: m.Frames, Bytes: m.Bytes,
		CheckpointLSN: m.CheckpointLSN, Position: m.Position, NextSegment: m.NextSegment,
	}, partTitles); err != nil {
		return err
	}
	for i := range m.Topics {
		if err := d.manifestTopic(&m.Topics[i]); err != nil {
			return err
		}
	}
	for _, c := range m.CarryFiles {
		if err := d.print.row(partRow{Type: "carry", File: c.File, Bytes: c.Durable}); err != nil {
			return err
		}
	}
	for _, file := range m.Dropped {
		if err := d.print.row(partRow{Type: "dropped", File: file}); err != nil {
			return err
		}
	}
	return d.manifestDamage(m)
}

func (d *dumper) manifestTopic(t *engine.TopicDump) error {
	topic := topicPartRow{Type: "topic", Topic: t.Topic, Number: t.Number, First: t.First, Latest: t.Latest, Consumers: t.Consumers}
	if err := d.print.row(topic); err != nil {
		return err
	}
	var parts []partRow
	for _, s := range t.Segments {
		parts = append(parts, partRow{Type: "segment", Topic: t.Topic.String(), File: s.File, Bytes: s.Durable, First: s.First, Last: s.Last, Sealed: s.Sealed})
	}
	for _, l := range t.Lost {
		parts = append(parts, partRow{Type: "lost", Topic: t.Topic.String(), File: l.File, Offset: l.Offset, First: l.First, Last: l.Last, Reason: l.Reason})
	}
	for _, c := range t.Carried {
		parts = append(parts, partRow{
			Type: "carried", Topic: t.Topic.String(), File: c.File, Offset: c.Offset, Bytes: int64(c.Bytes), First: c.First, Last: c.Last,
		})
	}
	for _, part := range parts {
		if err := d.print.row(part); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) manifestDamage(m *engine.ManifestDump) error {
	for _, c := range m.Damage {
		if err := d.damage(c.Offset, c.Reason); err != nil {
			return err
		}
	}
	switch {
	case m.Frames == 0 && len(m.Damage) == 0:
		return d.damage(0, "no frame verifies")
	case m.TornBytes == 0 || m.Frames == 0:
		return nil
	}
	return d.note(noteRow{"torn", m.Bytes, fmt.Sprintf("%d bytes of a write that was cut short, or damage", m.TornBytes)})
}

// manifestRow is what a manifest says of the whole log.
type manifestRow struct {
	Type          string `json:"type"`
	File          string `json:"file"` // its proper name
	UUID          string `json:"uuid"`
	Generation    uint64 `json:"generation"`
	Frames        uint64 `json:"frames"`
	Bytes         int64  `json:"bytes"` // that verify
	CheckpointLSN uint64 `json:"checkpoint_lsn"`
	Position      uint64 `json:"position"`
	NextSegment   uint64 `json:"next_segment"`
}

func (r manifestRow) pairs() []pairRow {
	return []pairRow{
		{r.Type, r.File},
		{"log", r.UUID},
		{"generation", decimal(r.Generation)},
		{"frames", fmt.Sprintf("%d in %d bytes", r.Frames, r.Bytes)},
		{"checkpoint lsn", decimal(r.CheckpointLSN)},
		{"position", decimal(r.Position)},
		{"next segment", decimal(r.NextSegment)},
	}
}

func (r manifestRow) cells() []string { return []string{r.File} }

var partTitles = []string{"PART", "TOPIC", "EVENTS", "FILE", "OFFSET", "BYTES", "NOTE"}

// topicPartRow is a topic in a manifest.
type topicPartRow struct {
	Type      string         `json:"type"`
	Topic     engine.Topic   `json:"topic"`
	Number    uint64         `json:"topic_number"`
	First     engine.EventID `json:"first_id"` // above latest where the topic is empty
	Latest    engine.EventID `json:"latest"`
	Consumers int            `json:"consumers"`
}

func (r topicPartRow) cells() []string {
	note := fmt.Sprintf("number %d, %s", r.Number, plural(r.Consumers, "consumer"))
	events := "none"
	if r.First <= r.Latest {
		events = fmt.Sprintf("%d..%d", r.First, r.Latest)
	}
	return []string{r.Type, r.Topic.String(), events, "", "", "", note}
}

// partRow is a file in a manifest, or a topic's part of one.
type partRow struct {
	Type   string         `json:"type"`
	Topic  string         `json:"topic,omitempty"`
	File   string         `json:"file"`
	Offset int64          `json:"offset,omitempty"`
	Bytes  int64          `json:"bytes,omitempty"`
	First  engine.EventID `json:"first_id,omitempty"`
	Last   engine.EventID `json:"last_id,omitempty"`
	Sealed bool           `json:"sealed,omitempty"`
	Reason string         `json:"reason,omitempty"`
}

func (r partRow) cells() []string {
	cells := []string{r.Type, r.Topic, "", r.File, "", "", r.Reason}
	if r.Sealed {
		cells[6] = "sealed"
	}
	if r.Last != 0 {
		cells[2] = fmt.Sprintf("%d..%d", r.First, r.Last)
	}
	if r.Offset != 0 {
		cells[4] = strconv.FormatInt(r.Offset, 10)
	}
	if r.Bytes != 0 {
		cells[5] = strconv.FormatInt(r.Bytes, 10)
	}
	return cells
}
