// Package arch keeps the arrows between the packages of this module: which may
// import which, and what third-party code each may use. Its test asks the go
// command for the real imports on every platform.
//
//	programs (cmd, bench, fuzz) → adapter → engine → segment, index, wal, cursor → internal
//
// segment, index, wal and cursor do not import one another; engine wires them.
package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is the path of the root module.
const Module = "github.com/seglog/seglog"

// Package is what the rules look at: a package and its direct imports, both
// as full import paths.
type Package struct {
	Path        string
	Imports     []string
	TestImports []string
}

// coreModules are the third-party modules of the core: engine and below.
var coreModules = []string{
	"github.com/cespare/xxhash/v2",
	"github.com/google/btree",
	"github.com/klauspost/compress",
	"golang.org/x/sys",
}

var (
	siblings = []string{"segment", "index", "wal", "cursor"}
	programs = []string{"cmd", "bench", "fuzz"}

	// mayUse says which other folders a folder's packages may import.
	mayUse = map[string][]string{
		"internal": {},
		"segment":  {"internal"},
		"index":    {"internal"},
		"wal":      {"internal"},
		"cursor":   {"internal"},
		"engine":   {"segment", "index", "wal", "cursor", "internal"},
		"adapter":  {"engine", "internal"},
		"cmd":      {"adapter", "engine", "segment", "index", "wal", "cursor", "internal"},
		"bench":    {"adapter", "engine", "segment", "index", "wal", "cursor", "internal"},
		"fuzz":     {"adapter", "engine", "segment", "index", "wal", "cursor", "internal"},
	}
)

// refusedInCore are standard packages that the core does without: it reads with
// pread and decodes with bounds checked, and it talks to no network.
var refusedInCore = []string{"unsafe", "C", "net", "plugin"}

// Check returns what is wrong with the imports of p, one line a finding.
func Check(p Package) []string {
	var findings []string
	folder := folderOf(p.Path)
	if folder == "" {
		return nil // the module's root holds no code
	}
	allowed, known := mayUse[folder]
	if !known {
		return []string{fmt.Sprintf("%s: folder %s is not in the rules", p.Path, folder)}
	}
	for _, imported := range p.Imports {
		if why := refuse(p.Path, folder, allowed, imported); why != "" {
			findings = append(findings, fmt.Sprintf("%s imports %s: %s", p.Path, imported, why))
		}
	}
	for _, imported := range p.TestImports {
		other := folderOf(imported)
		if slices.Contains(siblings, folder) && slices.Contains(siblings, other) && other != folder {
			findings = append(findings, fmt.Sprintf("tests of %s import %s: siblings do not meet", p.Path, imported))
		}
	}
	return findings
}

func refuse(importer, folder string, allowed []string, imported string) string {
	switch other := folderOf(imported); {
	case imported == Module:
		return "the module's root holds no code"
	case other != "" && other == folder:
		return ""
	case other != "" && slices.Contains(siblings, folder) && slices.Contains(siblings, other):
		return "siblings do not meet"
	case other != "" && !slices.Contains(allowed, other):
		return folder + " may import [" + strings.Join(allowed, " ") + "] only"
	case other != "":
		return ""
	case thirdParty(imported):
		return refuseThirdParty(importer, folder, imported)
	case inCore(folder) && slices.ContainsFunc(refusedInCore, func(r string) bool { return within(imported, r) }):
		return "the core does without it"
	}
	return ""
}

func refuseThirdParty(importer, folder, imported string) string {
	isCore := slices.ContainsFunc(coreModules, func(m string) bool { return within(imported, m) })
	switch {
	case folder == "internal" && !within(imported, "golang.org/x/sys"):
		return "internal uses the standard library and golang.org/x/sys only"
	case inCore(folder) && !isCore:
		return "the core's third-party modules are " + strings.Join(coreModules, ", ")
	case folder == "adapter" && !isCore && path.Dir(importer) != Module+"/adapter":
		return "a driver is imported by its own adapter alone"
	}
	return ""
}

func inCore(folder string) bool {
	return folder != "adapter" && !slices.Contains(programs, folder)
}

// folderOf returns the first element of a path inside the module, or "".
func folderOf(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, Module+"/")
	if !ok {
		return ""
	}
	folder, _, _ := strings.Cut(rest, "/")
	return folder
}

// within reports whether p is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

// thirdParty reports whether p is of neither the standard library nor this module.
func thirdParty(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return strings.Contains(first, ".") && !within(p, Module)
}
