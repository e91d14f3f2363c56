package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, the variables of LiveKit's own tools, define
// project 0. Each is an alias of a setting of that project, and problems contain the name that the
// user wrote.
const (
	topLevelPrefix    = "LIVEKIT_"
	topLevelOfProject = projectPrefix + "0__LIVEKIT__"
	topLevelRule      = "LIVEKIT_URL makes a project only where no project has a key, " +
		"an address or a name of its own"
)

// topLevelName returns the LIVEKIT_… variable for a setting of project 0.
func topLevelName(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, topLevelOfProject)
	return topLevelPrefix + rest, ok
}

// ProjectSetting splits the name of a project's setting, as in [Config.Changes], into the number of
// the project and the name without it: 0 and LIVEKIT__API_KEY for LIVEKIT_API_KEY as well as for
// PROJECTS__0__LIVEKIT__API_KEY.
func ProjectSetting(name string) (index int, rest string, ok bool) {
	if m := projectKey.FindStringSubmatch(name); m != nil {
		index, ok = projectOf(name)
		return index, m[2], ok
	}
	if rest, ok = strings.CutPrefix(name, topLevelPrefix); ok {
		return 0, "LIVEKIT__" + rest, true
	}
	return 0, "", false
}

// Variable returns the full name of a setting of the project, for messages: PROJECTS__2__DIRECTORY
// for DIRECTORY. A project that LIVEKIT_URL defines has LIVEKIT_API_KEY for LIVEKIT__API_KEY.
func (p Project) Variable(rest string) string {
	name := projectName(p.Index, rest)
	if top, ok := topLevelName(name); ok && p.TopLevel {
		return top
	}
	return name
}

// findTopLevel determines whether LIVEKIT_URL, LIVEKIT_API_KEY or LIVEKIT_API_SECRET define a
// project. They do unless a project has its own identity.
func (l *loader) findTopLevel() {
	var set []string
	for _, k := range globalKeys {
		if v, ok := l.values[k.name]; ok && strings.HasPrefix(k.name, topLevelPrefix) {
			set = append(set, fmt.Sprintf("%s (%s)", k.name, v.source))
		}
	}
	own := ""
	for _, name := range slices.Sorted(maps.Keys(l.values)) {
		if m := projectKey.FindStringSubmatch(name); m != nil && own == "" && isIdentity(m[2]) {
			own = name
		}
	}
	l.topLevel = len(set) > 0 && own == ""
	if len(set) > 0 && own != "" {
		l.warnings = append(l.warnings, fmt.Sprintf("%s: ignored, because %s is set. %s.",
			strings.Join(set, ", "), own, topLevelRule))
	}
	if l.topS3 != "" && own != "" {
		l.problems = append(l.problems, Problem{
			Key: "s3", Source: l.topS3,
			Wrong:  "is the bucket of the project that LIVEKIT_URL makes, but " + own + " is set",
			Remedy: "move it into the project to which it belongs",
		})
	}
}

// isIdentity reports whether a setting identifies its project.
func isIdentity(rest string) bool {
	return rest == "NAME" || isSyncFlowIdentity(rest) || strings.HasPrefix(rest, "LIVEKIT__")
}

func isSyncFlowIdentity(rest string) bool {
	switch rest {
	case "KEY", "KEY_FILE", "SECRET", "SECRET_FILE", "PROJECT_ID":
		return true
	}
	return false
}

// effective returns the values in force. It returns LIVEKIT_URL and the other aliases as settings
// of the project that they define.
func (l *loader) effective() map[string]value {
	out := maps.Clone(l.values)
	for _, k := range globalKeys {
		rest, ok := strings.CutPrefix(k.name, topLevelPrefix)
		if !ok {
			continue
		}
		if v, ok := out[k.name]; ok && l.topLevel {
			out[topLevelOfProject+rest] = value{v.text, k.name}
		}
	}
	return out
}
