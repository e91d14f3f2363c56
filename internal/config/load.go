package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Options are the inputs of Load.
type Options struct {
	// Environ is the environment, in the form of os.Environ.
	Environ []string
	// Dir is the directory of `.env` and textegress.yaml, and the base of relative paths. "" is the
	// working directory of the process.
	Dir string
	// File is the YAML file of the --config flag; "" if there is none. It takes precedence over
	// TEXTEGRESS_CONFIG_FILE.
	File string
}

// value is the text of one setting, and its source.
type value struct{ text, source string }

// loader collects values and problems during one call of Load.
type loader struct {
	o        Options
	values   map[string]value // by environment name; the first layer that sets a name wins
	problems []Problem        // of the service as a whole
	broken   map[int][]Problem
	warnings []string
	unknown  []string          // names in `.env` that are not settings and resemble none
	empties  map[string]string // name -> source, of empty values
	nearby   map[string]string // setting -> "NAME is set in the environment", of a similar name

	topLevel    bool            // LIVEKIT_URL and the like make project 0
	rooms       []string        // RECORD_ROOMS of the service
	topS3       string          // source of the block s3 at the top of a YAML file
	filesRead   map[string]bool // names of settings NAME_FILE
	faultyFiles map[string]bool // settings whose NAME_FILE has a problem
}

// Load reads the configuration. The layers, in order of precedence, are: environment,
// TEXTEGRESS_CONFIG_BODY (YAML), the YAML file (--config, else TEXTEGRESS_CONFIG_FILE, else
// textegress.yaml in the working directory if there is one), `.env` in the working directory,
// defaults. An empty value counts as not set. The layers are merged setting by setting, and
// projects by their number.
//
// A project with problems is listed in Config.Broken. For any other problem, or if no project is
// usable, Load returns a nil Config and a *ProblemsError that lists all problems.
func Load(o Options) (*Config, error) { return read(o).build() }

// DiskMinFree returns DISK_MIN_FREE, or its default if the value is invalid. It is for commands
// that need no other setting.
func DiskMinFree(o Options) int64 {
	l := read(o)
	if n := l.field("DISK_MIN_FREE").bytes(minDiskMinFree, maxDiskMinFree); n != 0 {
		return n
	}
	delete(l.values, "DISK_MIN_FREE")
	return l.field("DISK_MIN_FREE").bytes(minDiskMinFree, maxDiskMinFree)
}

// read collects the values of all layers.
func read(o Options) *loader {
	l := &loader{
		o: o, values: map[string]value{}, broken: map[int][]Problem{},
		empties: map[string]string{}, nearby: map[string]string{},
		filesRead: map[string]bool{}, faultyFiles: map[string]bool{},
	}
	env := l.environment()
	dotenv := l.dotenv(env)
	body, bodySource := env[keyConfigBody], keyConfigBody
	if body == "" {
		body = dotenv[keyConfigBody].text
	}
	if strings.TrimSpace(body) != "" {
		flattenYAML([]byte(body), bodySource, l)
	}
	l.yamlFile(env, dotenv)
	for _, name := range slices.Sorted(maps.Keys(dotenv)) {
		l.set(name, dotenv[name].text, dotenv[name].source)
	}
	if len(l.unknown) > 0 {
		l.warnings = append(l.warnings,
			fmt.Sprintf(".env has %d names that are no settings of textegress: %s. "+
				"They are ignored; remove them if the file is not shared.", len(l.unknown),
				quoteNames(l.unknown)))
	}
	return l
}

// set stores a value unless a layer of higher precedence has set the name.
func (l *loader) set(name, text, source string) {
	if strings.TrimSpace(text) == "" {
		if _, ok := l.empties[name]; !ok {
			l.empties[name] = source
		}
		return
	}
	if _, ok := l.values[name]; !ok {
		l.values[name] = value{text, source}
	}
}

func (l *loader) warn(text string) { l.warnings = append(l.warnings, text) }

// setTopS3 notes that a YAML file has a block s3 at its top.
func (l *loader) setTopS3(source string) {
	if l.topS3 == "" {
		l.topS3 = source
	}
}

// report adds a problem to its project, or to the service if it concerns no project.
func (l *loader) report(p Problem) {
	if i, ok := projectOf(p.Key); ok {
		l.broken[i] = append(l.broken[i], p)
		return
	}
	l.problems = append(l.problems, p)
}

// environment reads the settings from the environment. It returns the whole environment, for
// substitution in `.env`.
func (l *loader) environment() map[string]string {
	env := map[string]string{}
	for _, kv := range l.o.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env[k] = v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case name == keyConfigBody || name == keyConfigFile:
		case isKnown(name):
			l.set(name, env[name], "environment")
		case strings.HasPrefix(name, projectPrefix) || strings.HasPrefix(name, ownPrefix):
			l.report(unknownProblem(name, "environment"))
		default:
			// Most variables belong to other programs. A name that resembles a setting is mentioned
			// only if that setting is missing.
			if s := suggest(name); s != "" {
				l.nearby[s] = name + " is set in the environment"
			}
		}
	}
	return env
}

func unknownProblem(name, source string) Problem {
	p := Problem{Key: name, Source: source, Wrong: "is not a setting", Remedy: "remove it"}
	if s := suggest(name); s != "" {
		p.Remedy = fmt.Sprintf("did you mean %s?", s)
	} else if strings.HasPrefix(name, projectPrefix) {
		const numbers = ", the number from 0 to 9999 without leading zeros"
		switch m := projectKey.FindStringSubmatch(name); {
		case m == nil:
			p.Remedy = "project settings are called PROJECTS__<number>__<name>" + numbers
		case strings.HasPrefix(m[2], webhookPrefix) && !webhookKey.MatchString(m[2]):
			p.Remedy = "webhook settings are called " +
				"PROJECTS__<number>__WEBHOOKS__<number>__<name>" + numbers
		}
	}
	return p
}

// dotenv reads `.env` and returns its settings. Names may be in lower case, as for the predecessor.
func (l *loader) dotenv(env map[string]string) map[string]value {
	out := map[string]value{}
	text, err := os.ReadFile(filepath.Join(l.o.Dir, ".env"))
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	if err != nil {
		l.report(Problem{
			Source: ".env", Wrong: "cannot be read: " + plainError(err),
			Remedy: "make it readable, or remove it",
		})
		return out
	}
	lines, faults := parseDotenv(string(text),
		func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	for _, f := range faults {
		l.report(Problem{
			Key: f.key, Source: fmt.Sprintf(".env line %d", f.line), Wrong: f.wrong,
			Remedy: f.remedy,
		})
	}
	for _, line := range lines {
		name, source := strings.ToUpper(line.key), fmt.Sprintf(".env line %d", line.line)
		switch {
		case isKnown(name):
			if old, dup := out[name]; dup {
				if old.text != line.value {
					l.warnings = append(l.warnings,
						fmt.Sprintf("%s is set twice, in %s and in %s; the first one counts", name,
							old.source, source))
				}
				continue
			}
			out[name] = value{line.value, source}
		case strings.HasPrefix(name, projectPrefix), strings.HasPrefix(name, ownPrefix),
			suggest(name) != "" && !isCommon(suggest(name)):
			l.report(unknownProblem(line.key, source))
		default:
			if s := suggest(name); s != "" && l.nearby[s] == "" {
				l.nearby[s] = line.key + " is set in " + source
			}
			if !slices.Contains(l.unknown, line.key) {
				l.unknown = append(l.unknown, line.key)
			}
		}
	}
	return out
}

// yamlFile reads the YAML file, if there is one.
func (l *loader) yamlFile(env map[string]string, dotenv map[string]value) {
	name, key, must := l.o.File, "--config", true
	if name == "" {
		name, key = env[keyConfigFile], keyConfigFile
	}
	if name == "" {
		name = dotenv[keyConfigFile].text
	}
	if name == "" {
		name, key, must = "textegress.yaml", "", false
	}
	text, err := os.ReadFile(l.path(name))
	if errors.Is(err, fs.ErrNotExist) && !must {
		return
	}
	if err != nil {
		l.report(Problem{
			Key: key, Source: clip(name), Wrong: "cannot be read: " + plainError(err),
			Remedy: "correct the path or make the file readable",
		})
		return
	}
	flattenYAML(text, filepath.Base(name), l)
}

// path resolves a relative path against the working directory.
func (l *loader) path(p string) string {
	if filepath.IsAbs(p) || l.o.Dir == "" {
		return p
	}
	return filepath.Join(l.o.Dir, p)
}

// plainError returns the text of a file error without the path.
func plainError(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
