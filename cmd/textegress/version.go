package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *versionCmd) Run(env *environment) error {
	v := buildVersion()
	if c.JSON {
		return printJSON(env.stdout, v)
	}
	fmt.Fprintf(env.stdout, "textegress %s, %s %s\n", v, v.Go, v.Platform)
	return nil
}

// buildInfo states the source of this binary, as far as the go command recorded it.
type buildInfo struct {
	// version of the module; "devel" if it was not built from a released version
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // git commit
	Modified bool   `json:"modified"`           // the checkout had changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() buildInfo {
	v := buildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" +
		runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String returns the version, with the revision unless the version contains it, as a pseudo-version
// does.
func (v buildInfo) String() string {
	s := v.Version
	if short := v.Revision[:min(12, len(v.Revision))]; short != "" && !strings.Contains(s, short) {
		s += "+" + short
		if v.Modified {
			s += "-modified"
		}
	}
	return s
}
