package compose

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"opsbot/internal/fault"
)

// APIImage is the name of the API's images; releases are its tags.
const APIImage = "opsbot-patient-api"

const (
	baseImage = "opsbot-patient-base"
	suite     = "bookworm"
	packages  = "postgresql-15,redis-server,nginx-light,prometheus,ca-certificates"
	// trimmed is what nobody looks at in a container: half of the size.
	trimmed = "var/lib/postgresql/15 usr/share/javascript usr/share/doc usr/share/locale usr/share/man usr/share/i18n usr/lib/postgresql/15/lib/bitcode var/cache/apt var/lib/apt/lists"
)

// registryImages are what stands in for the Debian image where debootstrap is
// not available: they have the same programs at the same places.
var registryImages = map[string]string{
	"DB_IMAGE": "postgres:15", "CACHE_IMAGE": "redis:7", "NGINX_IMAGE": "nginx:1", "PROMETHEUS_IMAGE": "prom/prometheus:v2.55.1",
}

// cacheDir is where images are kept between patients.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir = filepath.Join(dir, "opsbot")
	return dir, os.MkdirAll(dir, 0o755)
}

// serverImages returns the variables that name the images of PostgreSQL,
// Redis, nginx and Prometheus, and sees to it that they are there.
func serverImages(ctx context.Context, progress func(string)) (map[string]string, error) {
	images := map[string]string{}
	for name := range registryImages {
		if given := os.Getenv("OPSBOT_PATIENT_" + name); given != "" {
			images[name] = given
		}
	}
	if len(images) == len(registryImages) {
		return images, nil
	}
	base, err := debianImage(ctx, progress)
	if err != nil {
		var said *fault.Error
		if !errors.As(err, &said) || said.Kind != fault.NotFound {
			return nil, err
		}
		progress(said.Message + " Using images of the registry instead.")
		for name, image := range registryImages {
			if _, set := images[name]; !set {
				images[name] = image
			}
		}
		return images, nil
	}
	for name := range registryImages {
		if _, set := images[name]; !set {
			images[name] = base
		}
	}
	return images, nil
}

// debianImage makes the one image that has all servers, from Debian's packages
// and without a registry. Its archive is kept in the cache folder, because
// making it takes a minute or two.
func debianImage(ctx context.Context, progress func(string)) (string, error) {
	sum := sha256.Sum256([]byte(suite + packages + trimmed + "1"))
	image := baseImage + ":" + hex.EncodeToString(sum[:6])
	if exists(ctx, image) {
		return image, nil
	}
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	archive := filepath.Join(dir, strings.ReplaceAll(image, ":", "-")+".tar")
	lock := flock.New(archive + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return "", fmt.Errorf("wait for who is making the image: %w", err)
	}
	defer lock.Unlock()
	if exists(ctx, image) {
		return image, nil
	}
	if _, err := os.Stat(archive); err != nil {
		if err := bootstrap(ctx, archive, progress); err != nil {
			return "", err
		}
	}
	_, err = docker(ctx, "import",
		"--change", "ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"--change", "LABEL opsbot.patient=base", archive, image)
	return image, failed("Importing the patient's base image", err)
}

// bootstrap writes the archive of a small Debian with the servers.
func bootstrap(ctx context.Context, archive string, progress func(string)) error {
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fault.New(fault.NotFound, "debootstrap is not installed, which makes the patient's image without a registry.").
			Hinted("Install the package debootstrap, or name images in OPSBOT_PATIENT_DB_IMAGE, …_CACHE_IMAGE, …_NGINX_IMAGE and …_PROMETHEUS_IMAGE.").Because(err)
	}
	if os.Getuid() != 0 {
		return fault.New(fault.NotFound, "debootstrap works for root only, and makes the patient's image without a registry.").
			Hinted("Run it once as root: the image is kept.")
	}
	progress("Making the patient's base image from Debian packages; that takes a minute or two, once.")
	dir, err := os.MkdirTemp(filepath.Dir(archive), "base-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	script := `set -e
debootstrap --variant=minbase --include="$2" "$3" "$1" >"$1.log" 2>&1 || { tail -n 5 "$1.log" >&2; rm -f "$1.log"; exit 1; }
rm -f "$1.log"
cd "$1"; rm -rf $4; find var/log -type f -delete
tar --numeric-owner -cf "$5.part" .
mv "$5.part" "$5"`
	cmd := exec.CommandContext(ctx, "sh", "-c", script, "sh", dir, packages, suite, trimmed, archive)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		return fault.New(fault.Unavailable, "debootstrap could not make the patient's image: %s", lastLines(errs.String(), 5)).
			Hinted("It downloads packages from Debian; is the network there?").Because(err)
	}
	return nil
}

func exists(ctx context.Context, image string) bool {
	_, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

// A Release is a version of the API, as an image. The zero value is the good
// one that a patient starts with.
type Release struct {
	Version   string // X-Version; default 2.0.0
	Ailments  string // faults from the start: "err=30&slow=80ms"
	ExitsWith string // a code to exit with at each start; "" runs
}

// variables are the release's part of the image's environment.
func (r Release) variables() map[string]string {
	vars := map[string]string{"PATIENT_VERSION": "2.0.0"}
	for name, value := range map[string]string{"PATIENT_VERSION": r.Version, "PATIENT_AILMENTS": r.Ailments, "PATIENT_EXIT": r.ExitsWith} {
		if value != "" {
			vars[name] = value
		}
	}
	return vars
}

// releaseImage makes the image of a release from the program and returns its
// tag. The same program and release have the same tag, and are made once.
func releaseImage(ctx context.Context, program, base string, r Release) (tag string, err error) {
	linked, err := linkage(program)
	if err != nil {
		return "", err
	}
	vars := r.variables()
	sum := sha256.New()
	if err := readInto(sum, program); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(sum, "%s=%s\n", name, vars[name])
	}
	tag = vars["PATIENT_VERSION"] + "-" + hex.EncodeToString(sum.Sum(nil)[:6])
	image := APIImage + ":" + tag
	if exists(ctx, image) {
		return tag, nil
	}
	// Each build of opsbot has an image of its own; those that nobody made or
	// used for two days go. What cannot go stays.
	_, _ = docker(ctx, "image", "prune", "-a", "-f", "--filter", "label=opsbot.patient=api", "--filter", "until=48h")
	changes := []string{
		"--change", `ENTRYPOINT ["/opsbot", "patient"]`, "--change", `CMD ["api"]`,
		"--change", "EXPOSE 8000", "--change", "LABEL opsbot.patient=api", "--change", "WORKDIR /tmp",
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		changes = append(changes, "--change", fmt.Sprintf("ENV %s=%s", name, vars[name]))
	}
	if linked == dynamic {
		return tag, failed("Making the API's image", onBase(ctx, program, base, image, changes))
	}
	r1, w := io.Pipe()
	go func() { w.CloseWithError(archiveOf(w, program)) }()
	defer r1.Close()
	_, err = dockerWith(ctx, r1, append(append([]string{"import"}, changes...), "-", image)...)
	return tag, failed("Making the API's image", err)
}

// onBase puts a program that needs a C library on an image that has one.
func onBase(ctx context.Context, program, base, image string, changes []string) error {
	id, err := docker(ctx, "create", "--label", "opsbot.patient=build", base, "/opsbot")
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	_, err = docker(ctx, "cp", program, id+":/opsbot")
	if err == nil {
		_, err = docker(ctx, append(append([]string{"commit"}, changes...), id, image)...)
	}
	_, gone := docker(context.WithoutCancel(ctx), "rm", "-f", id)
	return errors.Join(err, gone)
}

type linking int

const (
	static linking = iota
	dynamic
)

// linkage says how a program is linked. One that Linux cannot run is an error.
func linkage(program string) (linking, error) {
	file, err := elf.Open(program)
	if err != nil {
		return static, fault.New(fault.Invalid, "%s is no program for Linux, so it cannot be the patient's API in a container.", filepath.Base(program)).
			Hinted("Build one with GOOS=linux CGO_ENABLED=0 go build -o opsbot-linux ./cmd/opsbot and name it in OPSBOT_PATIENT_PROGRAM.").Because(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return dynamic, nil
		}
	}
	return static, nil
}

func readInto(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

// archiveOf writes a file system with the program and a folder for its state.
func archiveOf(w io.Writer, program string) error {
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: "opsbot", Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	if err := readInto(t, program); err != nil {
		return err
	}
	return t.Close()
}
