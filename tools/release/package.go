package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

const packageSummary = "Reverse proxy that injects the tokens of third-party APIs"

const packageDescription = packageSummary + `
It obtains the tokens, keeps and renews them, and hands them only to the hosts
that they are for. The program is a full Caddy with the plugin caddy-tokens; it
can be installed beside another Caddy.`

// writePackage makes a package for Debian (deb) or for Fedora, Red Hat and SUSE
// (rpm).
func (r *release) writePackage(format, program string, t target) error {
	contents, err := r.packageContents(format, program)
	if err != nil {
		return err
	}
	scripts := filepath.Join(r.Root, "deploy", "package")
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: programName, Arch: t.Arch, Platform: t.OS, Version: r.Version, Release: "1",
		Section: "web", Priority: "optional", Maintainer: "The caddy-tokens authors <https://github.com/caddy-tokens/caddy-tokens>",
		Vendor: "The caddy-tokens authors", Homepage: "https://github.com/caddy-tokens/caddy-tokens",
		License: "Apache-2.0", Description: packageDescription, MTime: r.time(), DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Umask:      0o022,
			Contents:   contents,
			Recommends: []string{"ca-certificates"},
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(scripts, "postinstall"),
				PreRemove:   filepath.Join(scripts, "preremove"),
				PostRemove:  filepath.Join(scripts, "postremove"),
			},
			// Every dpkg and rpm unpacks gzip, the default of both.
			RPM: nfpm.RPM{BuildHost: "localhost", Summary: packageSummary},
		},
	})
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := packager.Package(info, &packed); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Out, packager.ConventionalFileName(info)), packed.Bytes(), 0o644) // #nosec G306 -- everybody may read a release
}

// packageContents are the files of a package. Where completions and units lie
// differs between the families of systems in one place: zsh.
func (r *release) packageContents(format, program string) (files.Contents, error) {
	zsh := "/usr/share/zsh/site-functions"
	if format == "deb" {
		zsh = "/usr/share/zsh/vendor-completions"
	}
	deploy := filepath.Join(r.Root, "deploy", "package")
	contents := files.Contents{
		r.content(program, "/usr/bin/"+programName, "", 0o755),
		r.content(filepath.Join(deploy, "caddy-tokens.service"), "/usr/lib/systemd/system/caddy-tokens.service", "", 0o644),
		{Destination: "/etc/caddy-tokens", Type: files.TypeDir, FileInfo: r.fileInfo(0o755)},
		r.content(filepath.Join(deploy, "Caddyfile"), "/etc/caddy-tokens/Caddyfile", files.TypeConfigNoReplace, 0o644),
		r.content(filepath.Join(deploy, "environment"), "/etc/caddy-tokens/environment", files.TypeConfigNoReplace, 0o600),
	}
	documents := "/usr/share/doc/" + programName
	for _, e := range r.documents {
		name := e.Name
		if name == "LICENSE" && format == "deb" {
			name = "copyright" // Debian's name of it
		}
		contents = append(contents, r.content(filepath.Join(r.Root, e.Name), path.Join(documents, name), "", 0o644))
	}
	places := map[string]string{
		programName + ".bash": "/usr/share/bash-completion/completions/" + programName,
		"_" + programName:     path.Join(zsh, "_"+programName),
		programName + ".fish": "/usr/share/fish/vendor_completions.d/" + programName + ".fish",
	}
	for _, page := range r.pages {
		name := path.Base(page.Name)
		destination, text := places[name], page.Content
		if strings.HasPrefix(page.Name, "man/") {
			destination, text = "/usr/share/man/man8/"+name+".gz", compress(text)
		}
		if destination == "" {
			continue // PowerShell looks nowhere
		}
		file := filepath.Join(r.work, "packaged-"+path.Base(destination))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
		contents = append(contents, r.content(file, destination, "", 0o644))
	}
	return contents, nil
}

// content is one file of a package.
func (r *release) content(source, destination, kind string, mode os.FileMode) *files.Content {
	return &files.Content{Source: source, Destination: destination, Type: kind, FileInfo: r.fileInfo(mode)}
}

func (r *release) fileInfo(mode os.FileMode) *files.ContentFileInfo {
	return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.time()}
}

// compress packs a man page, as its readers expect it.
func compress(text []byte) []byte {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level exists
	_, _ = w.Write(text)                                       // a buffer takes all
	_ = w.Close()
	return packed.Bytes()
}
