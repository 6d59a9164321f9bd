//! What is done with each resource type (HL7 FHIR R4 §2.27, the list of resources): one list.

use acequia_omop::{Excluded, Fate, Pass, Unmapped};

/// What is done with a resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Told in this pass.
    Told(Pass),
    /// Left out on purpose.
    Excluded(Excluded),
    /// No table takes it; the original stays where it is.
    NoTable,
}

/// The same as a decision.
pub(super) enum Treatment {
    Tell,
    Leave(Fate),
}

impl Kind {
    /// An entry without a resource type.
    pub(super) const NONE: Self = Self::NoTable;

    /// The pass in which it is read.
    pub(super) fn pass(self) -> Pass {
        match self {
            Self::Told(pass) => pass,
            Self::Excluded(_) | Self::NoTable => Pass::Persons,
        }
    }

    pub(super) fn treatment(self) -> Treatment {
        match self {
            Self::Told(_) => Treatment::Tell,
            Self::Excluded(why) => Treatment::Leave(Fate::Excluded(why)),
            Self::NoTable => Treatment::Leave(Fate::Unmapped(Unmapped::Kind)),
        }
    }
}

/// Looks a resource type up.
pub(super) fn kind(resource_type: &str) -> Kind {
    match resource_type {
        "Patient" | "Practitioner" | "Organization" | "Location" => Kind::Told(Pass::Persons),
        "Encounter" | "Medication" | "Device" | "Specimen" => Kind::Told(Pass::Visits),
        "Observation"
        | "Condition"
        | "Procedure"
        | "MedicationRequest"
        | "MedicationStatement"
        | "MedicationAdministration"
        | "Immunization"
        | "AllergyIntolerance"
        | "DiagnosticReport"
        | "DeviceUseStatement"
        | "DocumentReference"
        | "Composition"
        | "ClinicalImpression"
        | "ImagingStudy"
        | "FamilyMemberHistory" => Kind::Told(Pass::Events),
        "MedicationDispense" => Kind::Told(Pass::Repeats),
        // An intent is not an event.
        "CarePlan"
        | "Goal"
        | "ServiceRequest"
        | "NutritionOrder"
        | "DeviceRequest"
        | "VisionPrescription"
        | "Task"
        | "Appointment"
        | "AppointmentResponse"
        | "RequestGroup"
        | "CommunicationRequest"
        | "SupplyRequest"
        | "ImmunizationRecommendation"
        | "Schedule"
        | "Slot" => Kind::Excluded(Excluded::Plan),
        "Claim"
        | "ClaimResponse"
        | "ExplanationOfBenefit"
        | "Coverage"
        | "CoverageEligibilityRequest"
        | "CoverageEligibilityResponse"
        | "Account"
        | "Invoice"
        | "ChargeItem"
        | "ChargeItemDefinition"
        | "Contract"
        | "PaymentNotice"
        | "PaymentReconciliation"
        | "EnrollmentRequest"
        | "EnrollmentResponse"
        | "InsurancePlan" => Kind::Excluded(Excluded::Financial),
        // `Consent` belongs into the trustee's consent store. Resources that define rather than record come last.
        "PractitionerRole"
        | "Provenance"
        | "AuditEvent"
        | "OperationOutcome"
        | "Parameters"
        | "MessageHeader"
        | "CareTeam"
        | "Group"
        | "Endpoint"
        | "HealthcareService"
        | "OrganizationAffiliation"
        | "RelatedPerson"
        | "Person"
        | "Linkage"
        | "List"
        | "Basic"
        | "Binary"
        | "Subscription"
        | "DocumentManifest"
        | "Consent"
        | "VerificationResult"
        | "ResearchStudy"
        | "ResearchSubject"
        | "Communication"
        | "BodyStructure"
        | "Substance"
        | "CapabilityStatement"
        | "CodeSystem"
        | "ValueSet"
        | "ConceptMap"
        | "StructureDefinition"
        | "StructureMap"
        | "SearchParameter"
        | "OperationDefinition"
        | "ImplementationGuide"
        | "NamingSystem"
        | "Library"
        | "Measure"
        | "MeasureReport"
        | "ActivityDefinition"
        | "PlanDefinition"
        | "Questionnaire"
        | "ObservationDefinition"
        | "SpecimenDefinition"
        | "DeviceDefinition"
        | "DeviceMetric"
        | "EventDefinition"
        | "Evidence"
        | "EvidenceVariable"
        | "ResearchDefinition"
        | "ResearchElementDefinition"
        | "ExampleScenario"
        | "TestReport"
        | "TestScript"
        | "MedicationKnowledge"
        | "CatalogEntry"
        | "GuidanceResponse"
        | "TerminologyCapabilities"
        | "GraphDefinition"
        | "CompartmentDefinition"
        | "MessageDefinition"
        | "EffectEvidenceSynthesis"
        | "RiskEvidenceSynthesis"
        | "SubstanceSpecification"
        | "SubstanceNucleicAcid"
        | "SubstancePolymer"
        | "SubstanceProtein"
        | "SubstanceReferenceInformation"
        | "SubstanceSourceMaterial"
        | "MedicinalProduct"
        | "MedicinalProductAuthorization"
        | "MedicinalProductContraindication"
        | "MedicinalProductIndication"
        | "MedicinalProductIngredient"
        | "MedicinalProductInteraction"
        | "MedicinalProductManufactured"
        | "MedicinalProductPackaged"
        | "MedicinalProductPharmaceutical"
        | "MedicinalProductUndesirableEffect" => Kind::Excluded(Excluded::Administrative),
        // QuestionnaireResponse, MolecularSequence, Flag, RiskAssessment, AdverseEvent, Media, EpisodeOfCare, …: no table
        // takes them as they are, and a type that R4 does not know may be anything.
        _ => Kind::NoTable,
    }
}
