package adapter_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seglog/seglog/adapter"
	"github.com/seglog/seglog/engine"
)

var jobs = engine.MustTopic("jobs")

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fromEnv is the configuration of an environment that must be good.
func fromEnv(t *testing.T, base string, vars map[string]string) adapter.Config {
	t.Helper()
	c, err := adapter.FromEnv(base, func(name string) string { return vars[name] })
	check(t, err)
	return c
}

func TestPathsFromTheEnvironment(t *testing.T) {
	base, abs := t.TempDir(), t.TempDir()
	type places struct{ segment, file, sqlite string } // relative to base
	defaults := places{".harn/events.seglog", ".harn/events", ".harn/events.sqlite"}
	for _, test := range []struct {
		name string
		vars map[string]string
		want places
	}{
		{"nothing set", nil, defaults},
		{"all empty", map[string]string{"HARN_STATE_DIR": "", "HARN_EVENT_LOG_SEGMENT_DIR": "", "HARN_EVENT_LOG_DIR": "", "HARN_EVENT_LOG_SQLITE_PATH": ""}, defaults},
		{"all blank", map[string]string{"HARN_STATE_DIR": " ", "HARN_EVENT_LOG_SEGMENT_DIR": "\t", "HARN_EVENT_LOG_DIR": " \n", "HARN_EVENT_LOG_SQLITE_PATH": "  "}, defaults},
		{"state", map[string]string{"HARN_STATE_DIR": "st"}, places{"st/events.seglog", "st/events", "st/events.sqlite"}},
		{"absolute state", map[string]string{"HARN_STATE_DIR": abs}, places{abs + "/events.seglog", abs + "/events", abs + "/events.sqlite"}},
		{"relative places", map[string]string{"HARN_STATE_DIR": "st", "HARN_EVENT_LOG_SEGMENT_DIR": "s", "HARN_EVENT_LOG_DIR": "f", "HARN_EVENT_LOG_SQLITE_PATH": "q"}, places{"s", "f", "q"}},
		{"absolute places", map[string]string{"HARN_EVENT_LOG_SEGMENT_DIR": abs + "/s", "HARN_EVENT_LOG_DIR": abs + "/f", "HARN_EVENT_LOG_SQLITE_PATH": abs + "/q"}, places{abs + "/s", abs + "/f", abs + "/q"}},
		{"upwards", map[string]string{"HARN_STATE_DIR": "../st"}, places{"../st/events.seglog", "../st/events", "../st/events.sqlite"}},
		{"inner space is kept", map[string]string{"HARN_EVENT_LOG_DIR": "a b"}, places{defaults.segment, "a b", defaults.sqlite}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fromEnv(t, base, test.vars)
			for got, want := range map[string]string{c.SegmentDir: test.want.segment, c.FileDir: test.want.file, c.SQLitePath: test.want.sqlite} {
				if want = filepath.FromSlash(want); !filepath.IsAbs(want) {
					want = filepath.Join(base, want)
				}
				if got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
	if c := fromEnv(t, "rel", map[string]string{"HARN_STATE_DIR": "st"}); c.FileDir != filepath.Join("rel", "st", "events") {
		t.Errorf("with a relative base directory: got %s", c.FileDir)
	}
}

func TestBackendsFromTheEnvironment(t *testing.T) {
	for value, want := range map[string]engine.BackendKind{
		"": engine.BackendSegment, " ": engine.BackendSegment, "segment": engine.BackendSegment, " SQLite ": engine.BackendSQLite,
		"FILE": engine.BackendFile, "memory": engine.BackendMemory, "JetStream": engine.BackendJetStream,
	} {
		if c := fromEnv(t, t.TempDir(), map[string]string{"HARN_EVENT_LOG_BACKEND": value}); c.Backend != want {
			t.Errorf("%q: got backend %s, want %s", value, c.Backend, want)
		}
	}
	_, err := adapter.FromEnv(t.TempDir(), func(string) string { return "tape" })
	if !errors.Is(err, engine.ErrConfig) || !strings.Contains(err.Error(), "unsupported event log backend 'tape'") || !strings.Contains(err.Error(), "HARN_EVENT_LOG_BACKEND") {
		t.Errorf("backend tape: got %v", err)
	}
}

func TestQueueDepthsFromTheEnvironment(t *testing.T) {
	for value, want := range map[string]int{
		"": 128, "-5": 128, "many": 128, " 7": 128, "7.5": 128, "0x7": 128, "99999999999999999999999": 128,
		"0": 1, "1": 1, "7": 7, "+7": 7, "007": 7, "1073741824": 1 << 30, "18446744073709551615": 1 << 30,
	} {
		c := fromEnv(t, t.TempDir(), map[string]string{"HARN_EVENT_LOG_QUEUE_DEPTH": value, "HARN_EVENT_LOG_BACKEND": "memory"})
		log, err := adapter.Open(c)
		check(t, err)
		d, err := log.Describe(t.Context())
		check(t, err)
		check(t, log.Close())
		if c.QueueDepth != want || d.QueueDepth != want {
			t.Errorf("%q: got queue depth %d, and %d of the log, want %d", value, c.QueueDepth, d.QueueDepth, want)
		}
	}
}

// write makes a file below base.
func write(t *testing.T, base, name, content string) {
	t.Helper()
	path := filepath.Join(base, filepath.FromSlash(name))
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestAnEmptyLogIsNotBegunOverSomebodysData(t *testing.T) {
	for _, test := range []struct {
		name    string
		vars    map[string]string
		files   []string
		refused string // the kind of log that is there
	}{
		{"nothing", nil, nil, ""},
		{"something else", nil, []string{".harn/README", ".harn/events/README"}, ""},
		{"a database", nil, []string{".harn/events.sqlite"}, "sqlite"},
		{"a database that is all in its log", nil, []string{".harn/events.sqlite-wal"}, "sqlite"},
		{"events in files", nil, []string{".harn/events/topics/jobs.jsonl"}, "file"},
		{"cursors in files", nil, []string{".harn/events/consumers/jobs__c.json"}, "file"},
		{"both", nil, []string{".harn/events/topics/jobs.jsonl", ".harn/events.sqlite"}, "sqlite"},
		{"a set database", map[string]string{"HARN_EVENT_LOG_SQLITE_PATH": "db"}, []string{"db"}, "sqlite"},
		{"a set directory", map[string]string{"HARN_EVENT_LOG_DIR": "d"}, []string{"d/topics/a.jsonl"}, "file"},
		{"a set state", map[string]string{"HARN_STATE_DIR": "s"}, []string{"s/events.sqlite"}, "sqlite"},
		{"another place", map[string]string{"HARN_STATE_DIR": "s"}, []string{".harn/events.sqlite"}, ""},
		{"chosen", map[string]string{"HARN_EVENT_LOG_BACKEND": "segment"}, []string{".harn/events.sqlite"}, ""},
		{"blank is not chosen", map[string]string{"HARN_EVENT_LOG_BACKEND": " "}, []string{".harn/events.sqlite"}, "sqlite"},
		{"an open that made nothing", nil, []string{".harn/events.sqlite", ".harn/events.seglog/LOCK"}, "sqlite"},
		{"a directory of something else", nil, []string{".harn/events.sqlite", ".harn/events.seglog/README"}, "sqlite"},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := t.TempDir()
			for _, name := range test.files {
				write(t, base, name, "x")
			}
			c := fromEnv(t, base, test.vars)
			log, err := adapter.Open(c)
			if test.refused == "" {
				check(t, err)
				check(t, log.Close())
				return
			}
			if !errors.Is(err, engine.ErrConfig) {
				t.Fatalf("got %v, want ErrConfig", err)
			}
			for _, part := range []string{
				"HARN_EVENT_LOG_BACKEND=" + test.refused, "seglog copy --from " + test.refused + ":" + base,
				"--to segment:" + c.SegmentDir, "HARN_EVENT_LOG_BACKEND=segment",
			} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if _, err := os.Stat(filepath.Join(c.SegmentDir, "seg")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a refused open made a log: %v", err)
			}
		})
	}
}

func TestOpenSegmentedLogOverFileLogOfSamePlace(t *testing.T) {
	begin := func(t *testing.T, kind engine.BackendKind, place string) {
		t.Helper()
		log, err := adapter.Open(adapter.Config{Backend: kind, SegmentDir: place, FileDir: place, SQLitePath: place})
		check(t, err)
		_, err = log.Append(t.Context(), jobs, engine.Event{Payload: []byte("1")})
		check(t, err)
		check(t, log.Close())
	}
	onDisk := []engine.BackendKind{engine.BackendSegment, engine.BackendFile, engine.BackendSQLite}
	for _, there := range append(onDisk, "the original's files", "an empty directory of something else", "a text") {
		for _, kind := range onDisk {
			t.Run(string(there)+" and "+string(kind), func(t *testing.T) {
				place := filepath.Join(t.TempDir(), "log")
				says := "--backend " + string(there)
				switch there {
				case "the original's files":
					place = originalFiles(t, map[string]string{"topics/jobs.jsonl": originalLine(1)})
					says = "--backend file"
					if kind == engine.BackendFile {
						return
					}
				case "an empty directory of something else":
					check(t, os.Mkdir(place, 0o700))
					says = "is a directory"
					if kind != engine.BackendSQLite {
						return
					}
				case "a text":
					check(t, os.WriteFile(place, []byte("text"), 0o600))
					says = "is a file"
					if kind == engine.BackendSQLite {
						return // the backend says what is wrong with it
					}
				default:
					begin(t, there, place)
					if kind == there {
						return
					}
				}
				before, err := os.ReadDir(filepath.Dir(place))
				check(t, err)
				config := adapter.Config{Backend: kind, SegmentDir: place, FileDir: place, SQLitePath: place}
				for _, config.ReadOnly = range []bool{false, true} {
					log, err := adapter.Open(config)
					if !errors.Is(err, engine.ErrConfig) || log != nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), place) {
						t.Errorf("got %v, %v, want ErrConfig that says %q", log, err, says)
					}
				}
				if after, err := os.ReadDir(filepath.Dir(place)); err != nil || len(after) != len(before) {
					t.Errorf("there is %v, %v, and there was %v", after, err, before)
				}
			})
		}
	}
}

func TestTextIsNoDamagedDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		want    error
	}{
		"a short text":     {"text\n", engine.ErrConfig},
		"a text":           {strings.Repeat("text\n", 1000), engine.ErrConfig},
		"a damaged header": {"SQLite-format 3\x00" + strings.Repeat("\x00", 5000), engine.ErrCorrupt},
	} {
		place := filepath.Join(t.TempDir(), "log")
		check(t, os.WriteFile(place, []byte(test.content), 0o600))
		log, err := adapter.Open(adapter.Config{Backend: engine.BackendSQLite, SQLitePath: place})
		if !errors.Is(err, test.want) || log != nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: got %v, %v, want %v", name, log, err, test.want)
		}
		if errors.Is(err, engine.ErrConfig) && errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("%s: %v is both", name, err)
		}
	}
}

func TestALogThatHasBegunIsOpenedBesideOlderOnes(t *testing.T) {
	base := t.TempDir()
	c := fromEnv(t, base, nil)
	for id := engine.EventID(1); id <= 2; id++ {
		log, err := adapter.Open(c)
		check(t, err)
		got, err := log.Append(t.Context(), jobs, engine.Event{Payload: []byte("1")})
		if err != nil || got != id {
			t.Fatalf("append gave %d, %v, want %d", got, err, id)
		}
		check(t, log.Close())
		write(t, base, ".harn/events.sqlite", "x")
	}
}

func TestAConfigOfNoBackendIsLikeAnEnvironmentThatChoosesNone(t *testing.T) {
	base := t.TempDir()
	write(t, base, "db", "x")
	c := adapter.Config{SegmentDir: filepath.Join(base, "log"), SQLitePath: filepath.Join(base, "db")}
	if _, err := adapter.Open(c); !errors.Is(err, engine.ErrConfig) {
		t.Errorf("got %v, want ErrConfig", err)
	}
	c.Backend = engine.BackendSegment
	log, err := adapter.Open(c)
	check(t, err)
	check(t, log.Close())
}

func TestConfigsThatCannotBeOpened(t *testing.T) {
	for _, test := range []struct {
		config adapter.Config
		want   error
	}{
		{adapter.Config{}, engine.ErrConfig},
		{adapter.Config{Backend: engine.BackendSegment}, engine.ErrConfig},
		{adapter.Config{Backend: engine.BackendFile}, engine.ErrConfig},
		{adapter.Config{Backend: engine.BackendSQLite}, engine.ErrConfig},
		{adapter.Config{Backend: "tape"}, engine.ErrConfig},
		{adapter.Config{Backend: engine.BackendMemory, ReadOnly: true}, engine.ErrConfig},
		{adapter.Config{Backend: engine.BackendJetStream}, errors.ErrUnsupported},
		{adapter.Config{Backend: engine.BackendSegment, SegmentDir: t.TempDir(), QueueDepth: -1}, engine.ErrConfig},
	} {
		log, err := adapter.Open(test.config)
		if !errors.Is(err, test.want) || log != nil {
			t.Errorf("%+v: got %v, %v, want %v", test.config, log, err, test.want)
		}
	}
}

func TestDescribeOfWhatWasNeverOpenedCreatesNothing(t *testing.T) {
	for _, kind := range []engine.BackendKind{engine.BackendSegment, engine.BackendFile, engine.BackendSQLite} {
		base := t.TempDir()
		c := fromEnv(t, base, map[string]string{"HARN_EVENT_LOG_BACKEND": string(kind), "HARN_EVENT_LOG_QUEUE_DEPTH": "7"})
		d, err := adapter.Describe(c)
		check(t, err)
		if d.Backend != kind || d.Location != c.Location() || d.QueueDepth != 7 || d.SizeBytes == nil || *d.SizeBytes != 0 {
			t.Errorf("%s: got %+v", kind, d)
		}
		if entries, err := os.ReadDir(base); err != nil || len(entries) > 0 {
			t.Errorf("%s: describing made %v, %v", kind, entries, err)
		}
	}
	d, err := adapter.Describe(adapter.Config{Backend: engine.BackendMemory})
	if err != nil || d.Location != "" || d.SizeBytes != nil || d.QueueDepth != engine.DefaultQueueDepth {
		t.Errorf("memory: got %+v, %v", d, err)
	}
	if _, err := adapter.Describe(adapter.Config{Backend: engine.BackendJetStream}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("jetstream: got %v", err)
	}
}

func TestDescribeCountsFiles(t *testing.T) {
	base := t.TempDir()
	write(t, base, ".harn/events/topics/a.jsonl", "12345")
	write(t, base, ".harn/events/consumers/a__c.json", "123")
	write(t, base, ".harn/events.sqlite", "1")
	write(t, base, ".harn/events.sqlite-wal", "22")
	for kind, want := range map[string]uint64{"file": 8, "sqlite": 3, "segment": 0, "": 0} {
		d, err := adapter.Describe(fromEnv(t, base, map[string]string{"HARN_EVENT_LOG_BACKEND": kind}))
		if err != nil || *d.SizeBytes != want {
			t.Errorf("%q: got %+v, %v, want %d bytes", kind, d, err, want)
		}
	}
}

func TestOpenContextCarriesTheLogOfTheEnvironment(t *testing.T) {
	base := t.TempDir()
	t.Setenv("HARN_EVENT_LOG_BACKEND", "")
	t.Setenv("HARN_EVENT_LOG_SEGMENT_DIR", "log")
	ctx, log, err := adapter.OpenContext(context.Background(), base)
	check(t, err)
	defer log.Close()
	if got, ok := engine.FromContext(ctx); !ok || got != log {
		t.Errorf("the context carries %v, %v", got, ok)
	}
	if d, err := log.Describe(ctx); err != nil || d.Location != filepath.Join(base, "log") {
		t.Errorf("got %+v, %v", d, err)
	}
	t.Setenv("HARN_EVENT_LOG_BACKEND", "tape")
	if ctx, log, err := adapter.OpenContext(context.Background(), base); !errors.Is(err, engine.ErrConfig) || ctx == nil || log != nil {
		t.Errorf("got %v, %v, %v", ctx, log, err)
	}
}
