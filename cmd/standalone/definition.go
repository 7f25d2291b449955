package main

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// definition checks objects of one kind as an API server with its CustomResourceDefinition does at creation.
type definition struct {
	kind   string
	schema *schema.Structural
	props  validation.SchemaValidator
	rules  *cel.Validator
}

// newDefinition reads a CustomResourceDefinition of one version.
func newDefinition(text []byte) (*definition, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		return nil, fmt.Errorf("reading a definition: %w", err)
	}
	if n := len(crd.Spec.Versions); n != 1 {
		return nil, fmt.Errorf("reading the definition of %s: it has %d versions, not one", crd.Spec.Names.Kind, n)
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema,
		&props,
		nil,
	); err != nil {
		return nil, fmt.Errorf("converting the schema of %s: %w", crd.Spec.Names.Kind, err)
	}
	structural, err := schema.NewStructural(&props)
	if err != nil {
		return nil, fmt.Errorf("reading the schema of %s: %w", crd.Spec.Names.Kind, err)
	}
	byProps, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, fmt.Errorf("setting up the schema of %s: %w", crd.Spec.Names.Kind, err)
	}
	return &definition{
		kind: crd.Spec.Names.Kind, schema: structural, props: byProps,
		rules: cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// check reports what an API server would refuse, by kubectl's strict reading of unknown fields. It brings the object
// into the form in which it would be stored: defaults are filled in, status and what is unknown are not in it.
func (d *definition) check(ctx context.Context, object map[string]any) (unknown []string, errs field.ErrorList) {
	delete(object, "status")
	unknown = pruning.PruneWithOptions(object, d.schema, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	meta, _, paths, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return unknown, field.ErrorList{field.Invalid(field.NewPath("metadata"), field.OmitValueType{}, err.Error())}
	}
	for _, path := range paths {
		unknown = append(unknown, strings.TrimPrefix(path, "."))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, d.schema)
	defaulting.Default(object, d.schema)
	named := checkMeta(meta)
	errs = append(errs, named...)
	errs = append(errs, validation.ValidateCustomResource(nil, object, d.props)...)
	errs = append(errs, objectmeta.Validate(ctx, nil, object, d.schema, true)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, d.schema, object)...)
	if len(named) > 0 || blocksRules(errs) {
		return unknown, errs
	}
	byRules, _ := d.rules.Validate(ctx, nil, d.schema, object, nil, celconfig.RuntimeCELCostBudget)
	return unknown, append(errs, byRules...)
}

// checkMeta checks what all objects have. The namespace may be left to kubectl.
func checkMeta(meta *metav1.ObjectMeta) field.ErrorList {
	path := field.NewPath("metadata")
	if meta == nil || meta.Name == "" {
		return field.ErrorList{field.Required(path.Child("name"), "")}
	}
	meta = meta.DeepCopy()
	if meta.Namespace == "" {
		meta.Namespace = metav1.NamespaceDefault
	}
	return apivalidation.ValidateObjectMeta(meta, true, apivalidation.NameIsDNSSubdomain, path)
}

// blocksRules reports whether an API server would not run the rules on an object with these errors.
func blocksRules(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}
