"""The stack of docs/aws-account.yaml in an account: what it made, by the names of its outputs."""

from __future__ import annotations

from typing import Any

from assay.errors import InputError

INSTALL = "pip install 'assay[cluster]'"


def client(service: str, region: str | None) -> Any:
    """A boto3 client; raises InputError without boto3, without a region, or for a profile that isn't there."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise InputError(f"boto3 is not installed: {INSTALL}") from error
    try:
        return boto3.Session().client(service, region_name=region)
    except BotoCoreError as error:  # NoRegionError, ProfileNotFound
        raise InputError(f"{error}; give --region, and look at AWS_PROFILE") from error


def outputs(stack: str, region: str | None) -> dict[str, str]:
    """Output -> value; raises InputError where there is no such stack, or it is not ready."""
    from botocore.exceptions import BotoCoreError, ClientError

    asked = client("cloudformation", region)
    try:
        [found] = asked.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            raise InputError(
                f"there is no stack '{stack}' in {asked.meta.region_name}; deploy docs/aws-account.yaml under that name"
            ) from error
        raise InputError(f"the stack '{stack}' cannot be read: {error}") from error
    except BotoCoreError as error:
        raise InputError(f"the stack '{stack}' cannot be read: {error}; look at AWS_PROFILE") from error
    if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise InputError(
            f"the stack '{stack}' is {found['StackStatus']}; `aws cloudformation describe-stack-events --stack-name "
            f"{stack}` says why. One that was rolled back has to be deleted before it is deployed again"
        )
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
