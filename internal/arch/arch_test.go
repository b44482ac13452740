package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The platforms that must build; each may have files, and so imports, of its own.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"}

func TestImportsPointDown(t *testing.T) {
	for _, platform := range platforms {
		for _, p := range list(t, platform, "./...") {
			for _, finding := range Check(Package{p.ImportPath, p.Imports, slices.Concat(p.TestImports, p.XTestImports)}) {
				t.Errorf("%s: %s", platform, finding)
			}
		}
	}
}

// What users of the engine build: with its whole tree of dependencies.
func TestEngineNeedsThreeModules(t *testing.T) {
	for _, platform := range platforms {
		packages := list(t, platform, "-deps", "./engine/...")
		if len(packages) == 0 {
			t.Fatalf("%s: no packages listed", platform)
		}
		for _, p := range packages {
			if p.Module == nil {
				continue // the standard library
			}
			// On Windows golang.org/x/sys knows the network's types.
			if p.Module.Path != "golang.org/x/sys" && slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, "net") }) {
				t.Errorf("%s: the core depends on %s, which uses the network", platform, p.ImportPath)
			}
			if p.Module.Path != Module && !slices.Contains(coreModules, p.Module.Path) {
				t.Errorf("%s: the core depends on module %s (package %s)", platform, p.Module.Path, p.ImportPath)
			}
		}
	}
}

// A mapped file turns a bad disk into a dead process.
func TestCoreMapsNoFiles(t *testing.T) {
	root := moduleRoot(t)
	for folder := range mayUse {
		if !inCore(folder) {
			continue
		}
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".go" {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, call := range mappings(file) {
				t.Errorf("%s maps a file with %s", name, call)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

// mappings returns the names of the calls in file that map files into memory.
func mappings(file *ast.File) (calls []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			switch s.Sel.Name {
			case "Mmap", "MmapPtr", "SYS_MMAP", "MapViewOfFile", "CreateFileMapping":
				calls = append(calls, s.Sel.Name)
			}
		}
		return true
	})
	return calls
}

func TestMappingsAreSeen(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x; var b, _ = syscall.Mmap(0, 0, 0, 0, 0)`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if calls := mappings(file); !slices.Equal(calls, []string{"Mmap"}) {
		t.Errorf("got %q, want Mmap", calls)
	}
}

func TestCheckRefusesArrowsThatPointUp(t *testing.T) {
	for _, c := range []struct {
		name, from, imports string
		ok                  bool
	}{
		{"engine on wal", "engine", Module + "/wal", true},
		{"engine on adapter", "engine", Module + "/adapter/memory", false},
		{"wal on internal", "wal", Module + "/internal/vfs", true},
		{"wal on segment", "wal", Module + "/segment", false},
		{"wal on its own folder", "wal", Module + "/wal/waltest", true},
		{"wal on engine", "wal", Module + "/engine", false},
		{"internal on wal", "internal/vfs", Module + "/wal", false},
		{"internal on internal", "internal/env", Module + "/internal/vfs", true},
		{"internal on xxhash", "internal/vfs", "github.com/cespare/xxhash/v2", false},
		{"internal on x/sys", "internal/vfs", "golang.org/x/sys/unix", true},
		{"adapter on engine", "adapter/memory", Module + "/engine", true},
		{"adapter on wal", "adapter/memory", Module + "/wal", false},
		{"adapter on bench", "adapter", Module + "/bench", false},
		{"driver in its adapter", "adapter/sqlite", "modernc.org/sqlite", true},
		{"driver in adapter itself", "adapter", "modernc.org/sqlite", false},
		{"driver in engine", "engine", "modernc.org/sqlite", false},
		{"compression in segment", "segment", "github.com/klauspost/compress/s2", true},
		{"a module that only begins like one", "segment", "github.com/klauspost/compressor", false},
		{"unsafe in segment", "segment", "unsafe", false},
		{"network in engine", "engine", "net/http", false},
		{"network in a program", "cmd/seglog", "net/http", true},
		{"program on adapter", "cmd/seglog", Module + "/adapter", true},
		{"program on program", "cmd/seglog", Module + "/fuzz", false},
		{"bench on everything", "bench", Module + "/segment", true},
		{"new folder", "util", "fmt", false},
	} {
		findings := Check(Package{Path: Module + "/" + c.from, Imports: []string{c.imports}})
		if ok := len(findings) == 0; ok != c.ok {
			t.Errorf("%s: got allowed %t, want %t %q", c.name, ok, c.ok, findings)
		}
	}
	tests := Package{Path: Module + "/wal", TestImports: []string{Module + "/segment"}}
	if len(Check(tests)) == 0 {
		t.Error("a sibling imported by a test was not refused")
	}
}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Module       *struct{ Path string }
}

// list runs go list in the module's root. It needs no network.
func list(t *testing.T, platform string, args ...string) []listed {
	t.Helper()
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,Module"}, args...)...)
	cmd.Dir = moduleRoot(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: go list %s: %v\n%s", platform, strings.Join(args, " "), err, &stderr)
	}
	var packages []listed
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := in.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("%s: go list: %v", platform, err)
		}
		packages = append(packages, p)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
