package file

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/seglog/seglog/engine"
)

// Where things are, relative to the log's directory.
const (
	topicsDir    = "topics"
	consumersDir = "consumers"
	headsDir     = "heads"
	lockName     = "LOCK"
	journalName  = "journal"

	topicSuffix  = ".jsonl"
	cursorSuffix = ".json"
	headSuffix   = ".json"
	// Files are written under these names first, each kind one at a time.
	compactTemp = topicsDir + "/compact.tmp"
	cursorTemp  = consumersDir + "/cursor.tmp"
	headTemp    = headsDir + "/head.tmp"

	// maxStemBytes leaves room for a suffix in a name of 255 bytes.
	maxStemBytes = 255 - len(topicSuffix)
	// escape begins the names that the original would not choose. No topic's
	// name has it.
	escape = '%'
	hashed = "%%%" // begins the stems that do not spell the topic
)

func topicFile(stem string) string { return topicsDir + "/" + stem + topicSuffix }

func headFile(stem string) string { return headsDir + "/" + stem + headSuffix }

// plainStem says whether a topic may have the original's file name, which is
// its own: whether every file system can hold it.
func plainStem(topic string) bool {
	device, _, _ := strings.Cut(strings.ToUpper(topic), ".")
	return len(topic) <= maxStemBytes && !strings.HasSuffix(topic, ".") && !isDevice(device)
}

// isDevice knows the names that Windows keeps for devices, whatever follows a
// dot.
func isDevice(name string) bool {
	switch name {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(name) == 4 && (name[:3] == "COM" || name[:3] == "LPT") && name[3] >= '0' && name[3] <= '9'
}

// escapedStem is the stem of a topic that cannot have its own name. It has no
// upper case, and so is told from others by every file system.
func escapedStem(topic string) string {
	var b strings.Builder
	b.WriteByte(escape)
	for i := range len(topic) {
		c := topic[i]
		if c >= 'A' && c <= 'Z' {
			b.WriteByte(escape)
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	if b.Len() > maxStemBytes {
		return hashed + hash(topic)
	}
	return b.String()
}

// hash tells names apart that are too long or too odd to be spelled.
func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// topicOfStem is the topic that a stem spells. A hashed one spells none: its
// head file says which topic it is.
func topicOfStem(stem string) (engine.Topic, bool) {
	if strings.HasPrefix(stem, hashed) {
		return engine.Topic{}, false
	}
	name := stem
	if stem != "" && stem[0] == escape {
		var b strings.Builder
		for i := 1; i < len(stem); i++ {
			c := stem[i]
			if c == escape && i+1 < len(stem) && stem[i+1] >= 'a' && stem[i+1] <= 'z' {
				i++
				c = stem[i] - 'a' + 'A'
			}
			b.WriteByte(c)
		}
		if name = b.String(); escapedStem(name) != stem {
			return engine.Topic{}, false
		}
	}
	topic, err := engine.NewTopic(name)
	return topic, err == nil
}

// plainCursor is the original's file name of a cursor, without its suffix, and
// whether it is safe to choose: whether no other topic and consumer could have
// it.
func plainCursor(topic engine.Topic, consumer engine.ConsumerID) (stem string, safe bool) {
	t, c := topic.String(), consumer.String()
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return r
		}
		return '_'
	}, c)
	stem = t + "__" + clean
	safe = clean == c && strings.Count(stem, "__") == 1 && !strings.Contains(stem, "___") && plainStem(stem)
	return stem, safe
}

// escapedCursor is a file name for any other cursor. The file says whose it is.
func escapedCursor(topic engine.Topic, consumer engine.ConsumerID) string {
	return string(escape) + hash(topic.String()+"\x00"+consumer.String())
}

// fold is how a name looks to a file system that does not tell case.
func fold(name string) string { return strings.ToLower(name) }
