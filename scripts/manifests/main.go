// Command manifests checks files of Kubernetes against the types of its API: a field that does not exist, or a value of
// another type, is an error. It is a module of its own, so that the types are no dependency of Expedite.
//
//	cd scripts/manifests && go run . ../../deploy/kubernetes
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manifests FOLDER")
		os.Exit(2)
	}
	n, err := checkFolder(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d objects\n", n)
}

// checkFolder checks all objects in the files of a folder, and returns their number.
func checkFolder(dir string) (objects int, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no files in %s", dir)
	}
	for _, file := range files {
		b, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr)
		for _, part := range bytes.Split(b, []byte("\n---\n")) {
			objects++
			if fault := check(part); fault != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", file, fault))
			}
		}
	}
	return objects, err
}

// check decodes one object strictly.
func check(b []byte) error {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(b, &kind); err != nil {
		return err
	}
	var into any
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 ConfigMap":
		into = new(core.ConfigMap)
	case "v1 Secret":
		into = new(core.Secret)
	case "v1 Service":
		into = new(core.Service)
	case "apps/v1 Deployment":
		into = new(apps.Deployment)
	case "policy/v1 PodDisruptionBudget":
		into = new(policy.PodDisruptionBudget)
	case "autoscaling/v2 HorizontalPodAutoscaler":
		into = new(autoscaling.HorizontalPodAutoscaler)
	default:
		return fmt.Errorf("unknown kind %q of %q", kind.Kind, kind.APIVersion)
	}
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		return fmt.Errorf("%s: %w", kind.Kind, err)
	}
	return nil
}
