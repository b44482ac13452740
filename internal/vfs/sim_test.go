package vfs

import (
	"maps"
	"strings"
	"testing"
)

// disk is a Sim with a small language for tests.
type disk struct {
	*Sim
	t *testing.T
}

func newDisk(t *testing.T) disk { return disk{NewSim(1), t} }

func (d disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// create makes a file that is there for good, with durable content.
func (d disk) create(name, content string) File {
	d.t.Helper()
	f, err := d.Create(name)
	d.must(err)
	d.write(f, 0, content)
	d.must(f.SyncData())
	d.must(d.SyncDir("."))
	return f
}

func (d disk) write(f File, off int64, content string) {
	d.t.Helper()
	n, err := f.WriteAt([]byte(content), off)
	d.must(err)
	if n != len(content) {
		d.t.Fatalf("write: got %d bytes, want %d", n, len(content))
	}
}

// after is the disk after a power cut.
func (d disk) after(v Survival) disk { return disk{d.Crash(v), d.t} }

// want compares all files; a value may shorten a run of bytes as show does.
func (d disk) want(files map[string]string) {
	d.t.Helper()
	got := map[string]string{}
	for name, b := range d.Files() {
		got[name] = string(b)
	}
	if !maps.Equal(got, files) {
		d.t.Fatalf("files:\ngot  %q\nwant %q", got, files)
	}
}

func fill(b byte, n int) string { return strings.Repeat(string(b), n) }

func TestSyncedDataAndNamesSurviveEveryCut(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 3, "two")
	d.must(f.SyncData())
	d.must(d.Mkdir("dir"))
	d.must(d.SyncDir("."))
	for i, v := range Survivals() {
		image := d.after(v)
		image.want(map[string]string{"a": "onetwo"})
		if _, err := image.ReadDir("dir"); err != nil {
			t.Errorf("survival %d: %v", i, err)
		}
	}
}

func TestDropAllLosesWhatWasNotSynced(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 1, "xxxx")
	if _, err := d.Create("b"); err != nil {
		t.Fatal(err)
	}
	d.must(d.Remove("a"))
	d.want(map[string]string{"b": ""})
	d.after(Survival{Mode: DropAll}).want(map[string]string{"a": "one"})
}

func TestKeepAllKeepsWhatWasNotSynced(t *testing.T) {
	d := newDisk(t)
	f := d.create("a", "one")
	d.write(f, 1, "xxxx")
	d.must(d.Rename("a", "c"))
	if _, err := d.Create("b"); err != nil {
		t.Fatal(err)
	}
	d.after(Survival{Mode: KeepAll}).want(map[string]string{"b": "", "c": "oxxxx"})
}
