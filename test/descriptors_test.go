package test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// shape is what a platform documents of a part of a descriptor: the fields that may
// be there, and what each holds. nil is any value; a shape with the key "*" is a map
// with names of the user's; one with the key "[]" is a list.
type shape map[string]any

// fcHealth, fcProps and fcDescriptor are of
// https://github.com/devsapp/fc3/blob/master/docs/zh/yaml/readme.md
var (
	fcHealth = shape{
		"failureThreshold": nil, "httpGetUrl": nil, "initialDelaySeconds": nil, "periodSeconds": nil, "successThreshold": nil, "timeoutSeconds": nil,
	}
	fcProps = shape{
		"region": nil, "functionName": nil, "runtime": nil, "code": nil, "handler": nil, "cpu": nil, "memorySize": nil, "diskSize": nil,
		"instanceConcurrency": nil, "timeout": nil, "internetAccess": nil, "description": nil, "environmentVariables": nil, "vpcConfig": nil,
		"customRuntimeConfig":   shape{"command": shape{"[]": nil}, "args": shape{"[]": nil}, "port": nil, "healthCheckConfig": fcHealth},
		"customContainerConfig": shape{"image": nil, "command": shape{"[]": nil}, "entrypoint": shape{"[]": nil}, "port": nil, "healthCheckConfig": fcHealth},
		"triggers": shape{"[]": shape{
			"triggerName": nil, "triggerType": nil, "qualifier": nil,
			"triggerConfig": shape{"authType": nil, "disableURLInternet": nil, "methods": shape{"[]": nil}},
		}},
	}
	// vars: https://docs.serverless-devs.com/user-guide/spec/
	fcDescriptor = shape{
		"edition": nil, "name": nil, "access": nil,
		"vars": shape{
			"region": nil, "environment": shape{"*": nil},
			"vpc": shape{"vpcId": nil, "vSwitchIds": shape{"[]": nil}, "securityGroupId": nil},
		},
		"resources": shape{"*": shape{"component": nil, "props": fcProps}},
	}
)

// scfDescriptor is of
// https://github.com/serverless-components/tencent-scf/blob/master/docs/configure.md,
// type and the trigger http of https://cloud.tencent.com/document/product/1154/43228
var scfDescriptor = shape{
	"component": nil, "name": nil, "app": nil, "stage": nil, "org": nil,
	"inputs": shape{
		"name": nil, "type": nil, "src": nil, "runtime": nil, "region": nil, "description": nil, "memorySize": nil, "timeout": nil,
		"initTimeout": nil, "publicAccess": nil, "environment": shape{"variables": shape{"*": nil}},
		"vpcConfig": shape{"vpcId": nil, "subnetId": nil},
		"events": shape{"[]": shape{"http": shape{"parameters": shape{
			"qualifier": nil, "authType": nil, "netConfig": shape{"enableIntranet": nil, "enableExtranet": nil},
		}}}},
	},
}

// awsTemplate is of
// https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy.html
var awsTemplate = shape{
	"AWSTemplateFormatVersion": nil, "Transform": nil, "Description": nil,
	"Parameters": shape{"*": shape{"Type": nil, "NoEcho": nil, "Default": nil, "Description": nil}},
	"Resources":  shape{"*": shape{"Type": nil, "Properties": nil}},
	"Outputs":    shape{"*": shape{"Value": nil, "Description": nil}},
}

// awsResources are the properties of each type, of
// https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
// and https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/ (AWS::Events, AWS::IAM)
var awsResources = map[string]shape{
	"AWS::Serverless::Function": {
		"PackageType": nil, "ImageUri": nil, "Architectures": shape{"[]": nil}, "MemorySize": nil, "Timeout": nil,
		"VpcConfig":         shape{"SubnetIds": nil, "SecurityGroupIds": nil},
		"FunctionUrlConfig": shape{"AuthType": nil, "InvokeMode": nil, "Cors": nil},
		"Environment":       shape{"Variables": shape{"*": nil}},
	},
	"AWS::Events::Connection": {
		"Name": nil, "AuthorizationType": nil,
		"AuthParameters": shape{"ApiKeyAuthParameters": shape{"ApiKeyName": nil, "ApiKeyValue": nil}},
	},
	"AWS::Events::ApiDestination": {
		"Name": nil, "ConnectionArn": nil, "HttpMethod": nil, "InvocationEndpoint": nil, "InvocationRateLimitPerSecond": nil,
	},
	"AWS::IAM::Role": {
		"AssumeRolePolicyDocument": nil, "Policies": shape{"[]": shape{"PolicyName": nil, "PolicyDocument": nil}},
	},
	"AWS::Events::Rule": {
		"Name": nil, "ScheduleExpression": nil, "State": nil, "Targets": shape{"[]": shape{"Id": nil, "Arn": nil, "RoleArn": nil}},
	},
}

func serverlessFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "serverless", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// descriptor reads a YAML document. A tag such as !Ref leaves its value.
func descriptor(t *testing.T, name string) map[string]any {
	t.Helper()
	var document map[string]any
	if err := yaml.Unmarshal([]byte(serverlessFile(t, name)), &document); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return document
}

// checkShape expects that a value has the shape that is documented.
func checkShape(t *testing.T, at string, value any, want any) {
	t.Helper()
	s, ok := want.(shape)
	if !ok {
		return
	}
	if each, isList := s["[]"]; isList {
		list, ok := value.([]any)
		if !ok || len(list) == 0 {
			t.Errorf("%s is not a list: %v", at, value)
		}
		for _, item := range list {
			checkShape(t, at+"[]", item, each)
		}
		return
	}
	fields, ok := value.(map[string]any)
	if !ok {
		t.Errorf("%s is not a map: %v", at, value)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		field, ok := s[name]
		if !ok {
			field, ok = s["*"]
		}
		if !ok {
			t.Errorf("%s.%s is not documented", at, name)
		}
		checkShape(t, at+"."+name, fields[name], field)
	}
}

func TestServerlessDescriptors(t *testing.T) {
	checkShape(t, "s.yaml", descriptor(t, "alibaba-fc/s.yaml"), fcDescriptor)
	checkShape(t, "serverless.yml", descriptor(t, "tencent-scf/serverless.yml"), scfDescriptor)
	template := descriptor(t, "aws-lambda/template.yaml")
	checkShape(t, "template.yaml", template, awsTemplate)
	for name, resource := range template["Resources"].(map[string]any) {
		kind := resource.(map[string]any)["Type"].(string)
		want, ok := awsResources[kind]
		if !ok {
			t.Errorf("%s: the properties of %s are not checked", name, kind)
		}
		checkShape(t, "template.yaml "+name, resource.(map[string]any)["Properties"], want)
	}
}

// Each descriptor sets every variable that the Caddyfile reads, and the port at which
// it listens is the one that the platform asks.
func TestServerlessVariables(t *testing.T) {
	caddyfile := serverlessFile(t, "Caddyfile")
	variables := regexp.MustCompile(`\{env\.(\w+)\}`).FindAllStringSubmatch(caddyfile, -1)
	if len(variables) != 4 || !strings.Contains(caddyfile, ":{$PORT:9000}") {
		t.Fatalf("the Caddyfile reads %v", variables)
	}
	for _, name := range []string{"alibaba-fc/s.yaml", "tencent-scf/serverless.yml", "aws-lambda/template.yaml"} {
		text := serverlessFile(t, name)
		for _, variable := range variables {
			if !strings.Contains(text, variable[1]+": ") {
				t.Errorf("%s does not set %s", name, variable[1])
			}
		}
		for _, port := range regexp.MustCompile(`(?i)port: "?(\d+)`).FindAllStringSubmatch(text, -1) {
			if port[1] != "9000" {
				t.Errorf("%s: port %s", name, port[1])
			}
		}
	}
}
