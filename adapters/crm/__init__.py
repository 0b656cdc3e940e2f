"""The customer's CRM, called for contacts that campaigns say it is to be told of; the log is followed, so none is lost."""

from adapters.crm.crm import Crm
from adapters.crm.event import CrmEvent, InteractionTried
from adapters.crm.limits import CrmLimits
from adapters.crm.permit import Credential, Permit

__all__ = ["Credential", "Crm", "CrmEvent", "CrmLimits", "InteractionTried", "Permit"]
