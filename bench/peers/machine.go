package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/seglog/seglog/bench"
	"github.com/seglog/seglog/bench/result"
)

// describeMachine says where this runs. What the system does not say is left
// empty.
func describeMachine(dir string) (result.Machine, error) {
	m := result.Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Kernel:     strings.TrimSpace(readText("/proc/sys/kernel/osrelease")),
		CPU:        field("/proc/cpuinfo", "model name"),
		FileSystem: fileSystem(dir),
	}
	if kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kib << 10
	}
	latency, err := bench.ProbeSync(dir, time.Second)
	m.SyncP50, m.SyncP99 = micros(latency.Quantile(0.50)), micros(latency.Quantile(0.99))
	return m, err
}

func readText(name string) string {
	text, _ := os.ReadFile(name) // not there on other systems
	return string(text)
}

// field returns the value of the first line of the form "name : value".
func field(file, name string) string {
	for line := range strings.Lines(readText(file)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem is the type of the file system that dir is on.
func fileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	kind, longest := "", 0
	for line := range strings.Lines(readText("/proc/self/mounts")) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		at := fields[1]
		if (dir == at || strings.HasPrefix(dir, strings.TrimSuffix(at, "/")+"/")) && len(at) >= longest {
			kind, longest = fields[2], len(at)
		}
	}
	return kind
}

// versions are those of the modules in this program.
func versions() map[string]string {
	v := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, m := range info.Deps {
		v[m.Path] = m.Version
	}
	return v
}

// revision is that of the working tree; empty where git does not say.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(out))
}

// peakMemory is how far the process's memory rises while run runs; not ok where
// the system does not say.
func peakMemory(run func() error) (bytes float64, ok bool, err error) {
	debug.FreeOSMemory()
	before, known := memory("VmRSS")
	reset := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM begins anew
	if err := run(); err != nil {
		return 0, false, err
	}
	after, _ := memory("VmHWM")
	return float64(after - before), known && reset == nil, nil
}

func memory(name string) (bytes int64, ok bool) {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/self/status", name), " kB"), 10, 64)
	return kib << 10, err == nil
}

// bytesText is a size for people.
func bytesText(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
