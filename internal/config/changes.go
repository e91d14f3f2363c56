package config

import (
	"maps"
	"strings"
)

// Changes lists the names of the settings, secrets included, whose effective value differs in next,
// in the order of the manual, projects and webhooks in the order of their numbers. The source of a
// value is ignored. A setting of the project that LIVEKIT_URL makes has the name that the user
// wrote, such as LIVEKIT_API_SECRET.
func (c *Config) Changes(next *Config) []string {
	was, will := c.values(), next.values()
	n := numbers{}
	n.add(maps.Keys(was))
	n.add(maps.Keys(will))

	var names []string
	for _, k := range all(n) {
		if strings.HasPrefix(k.name, topLevelPrefix) {
			continue // compared as a setting of the project, or without effect
		}
		text := func(m map[string]value) string {
			if v, ok := m[k.name]; ok {
				return v.text
			}
			return k.def
		}
		if text(was) == text(will) {
			continue
		}
		name := k.name
		if top, ok := topLevelName(name); ok {
			if _, set := will[name]; next.topLevel || !set && c.topLevel {
				name = top
			}
		}
		names = append(names, name)
	}
	return names
}
