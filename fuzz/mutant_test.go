package fuzz

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	mutants = flag.Bool("mutants", false, "break the log in each of the known ways, and show that a test fails for each")
	mutantN = flag.String("mutant", "", "only mutants whose name holds this")
)

// mutant is one way to break the log. The text old stands once in the file.
type mutant struct {
	name, file, old, new string
	// tests says which packages' tests are to find it, and which of them; the
	// default is the crash tests of this one.
	packages []string
	run      string
}

const (
	mutantRun     = "Engine|Damage|Failed|Full|Goes|ReadError|ReadOnly|Second|Unknown|Rolled|WriteAfter"
	mutantTimeout = 5 * time.Minute
)

// TestMutantsAreKilled tests the tests. It copies the module, breaks it in one
// way, and runs the short tests, which must fail; that the broken module does
// not build does not count.
func TestMutantsAreKilled(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	checkMutants(t, root)
	if !*mutants {
		t.Skip("takes minutes: run with -mutants")
	}
	dir := filepath.Join(t.TempDir(), "module")
	if err := copyModule(root, dir); err != nil {
		t.Fatal(err)
	}
	for _, m := range mutantTable {
		if !strings.Contains(m.name, *mutantN) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			if err := m.survive(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// checkMutants keeps the table in step with the code.
func checkMutants(t *testing.T, root string) {
	t.Helper()
	names := map[string]bool{}
	for _, m := range mutantTable {
		if names[m.name] {
			t.Errorf("two mutants are named %q", m.name)
		}
		names[m.name] = true
		b, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(b), m.old); n != 1 {
			t.Errorf("mutant %q: its text stands %d times in %s, want once", m.name, n, m.file)
		}
	}
}

// survive returns an error where the mutant does.
func (m mutant) survive(dir string) error {
	name := filepath.Join(dir, m.file)
	whole, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	broken := strings.Replace(string(whole), m.old, m.new, 1)
	if err := os.WriteFile(name, []byte(broken), 0o600); err != nil {
		return err
	}
	defer func() { _ = os.WriteFile(name, whole, 0o600) }() // the copy is a test's own
	if out, err := goTool(dir, "vet", "./"+filepath.Dir(m.file)); err != nil {
		return fmt.Errorf("the mutant is no program: %w\n%s", err, out)
	}
	packages, run := m.packages, m.run
	if packages == nil {
		packages = []string{"./fuzz"}
	}
	if run == "" {
		run = mutantRun
	}
	args := append([]string{"test", "-count=1", "-failfast", "-timeout=" + mutantTimeout.String(), "-run=" + run}, packages...)
	out, err := goTool(dir, args...)
	if err == nil {
		return fmt.Errorf("survives")
	}
	if strings.Contains(out, "[build failed]") {
		return fmt.Errorf("the mutant is no program:\n%s", out)
	}
	return nil
}

func goTool(dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*mutantTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// copyModule copies what builds and tests the module.
func copyModule(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}
