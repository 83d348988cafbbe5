package sources

import (
	"maps"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// Watch reads fields again when their files change. The directories are watched and
// not the files: a file that is replaced is another one, and Kubernetes replaces a
// link. What is missed is found by the next look at the file, when its value is
// needed.
type Watch struct {
	fields  []*Field
	watcher *fsnotify.Watcher
	log     *zap.Logger
	done    chan struct{}
}

// NewWatch watches the files of those fields that have any. It is nil if none has,
// or if the system does not tell of changes.
func NewWatch(fields []*Field, log *zap.Logger) *Watch {
	fields = slices.DeleteFunc(slices.Clone(fields), func(f *Field) bool { return len(f.files()) == 0 })
	if len(fields) == 0 {
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("the files of fields cannot be watched; a change is found when the next token is fetched", zap.Error(err))
		return nil
	}
	w := &Watch{fields: fields, watcher: watcher, log: log, done: make(chan struct{})}
	w.follow()
	go w.run()
	return w
}

// Close ends the watch. It may be nil.
func (w *Watch) Close() {
	if w == nil {
		return
	}
	_ = w.watcher.Close()
	<-w.done
}

// quiet is how soon the files are looked at again after a look: a directory may be
// one in which much is written.
const quiet = 20 * time.Millisecond

// run looks at the files after each change in their directories, and once more when
// one that is being written should have been left alone.
func (w *Watch) run() {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var looked time.Time
	again := false // look once more afterwards
	for {
		select {
		case _, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			again = true
			if wait := quiet - time.Since(looked); wait > 0 {
				timer.Reset(wait)
				continue
			}
		case err, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			w.log.Warn("changes of files may have been missed; they are looked at", zap.Error(err))
			again = true
		case <-timer.C:
		}
		w.look()
		looked = time.Now()
		if again {
			timer.Reset(settled + settled/2)
		}
		again = false
	}
}

// look reads the fields again whose files have changed.
func (w *Watch) look() {
	for _, f := range w.fields {
		f.Recheck()
	}
	w.follow()
}

// follow watches the directories as they are now.
func (w *Watch) follow() {
	wanted := make(map[string]bool)
	for _, f := range w.fields {
		for _, file := range f.files() {
			for _, dir := range directoriesOf(file) {
				wanted[dir] = true
			}
		}
	}
	watched := w.watcher.WatchList()
	for _, dir := range watched {
		if !wanted[dir] {
			_ = w.watcher.Remove(dir) // it may be gone already
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(wanted)) {
		if slices.Contains(watched, dir) {
			continue
		}
		if err := w.watcher.Add(dir); err != nil {
			w.log.Warn("a directory cannot be watched; changes of the files in it are found when the next token is fetched",
				zap.String("directory", dir), zap.Error(err))
		}
	}
}

// files are the files of the field.
func (f *Field) files() []string {
	if local, ok := f.source.(Local); ok {
		return local.Files()
	}
	return nil
}
