"""Attributes of patient and examination, which a SEG or RTSTRUCT shares with its images (PS3.3 C.7.1, C.7.2)."""

from __future__ import annotations

from typing import Any

_DEMANDED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes that must be there, but may be empty (type 2)."""

_COPIED = (
    *("SpecificCharacterSet", "StudyInstanceUID", "StudyDescription", "IssuerOfPatientID", "OtherPatientIDsSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "EthnicGroup", "PatientComments", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)

_OPTIONAL = (
    *("PatientAge", "PatientSize", "PatientWeight", "PatientBirthTime", "PatientComments", "OtherPatientIDs"),
    *("OtherPatientNames", "OtherPatientIDsSequence", "EthnicGroup", "Occupation", "AdditionalPatientHistory"),
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "StudyDescription", "AdmittingDiagnosesDescription"),
    *("PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "ReferencedPatientPhotoSequence", "ClinicalTrialSubjectID"),
    *("ClinicalTrialSubjectReadingID", "MedicalAlerts", "Allergies", "PregnancyStatus", "PatientState"),
    *("MedicalRecordLocator", "ResponsiblePerson", "CountryOfResidence", "PatientAddress", "MilitaryRank"),
)
"""Attributes that may say who the patient is, and need not be there."""


def copy_patient(source: Any, target: Any) -> None:
    """Give a dataset the patient and study of an image; what the image lacks and the standard demands is empty."""
    for keyword in (*_DEMANDED, *_COPIED):
        if keyword in source:
            setattr(target, keyword, source[keyword].value)
    complete_patient(target)


def complete_patient(dataset: Any) -> None:
    """Add the attributes that the standard demands and an image lacks, empty."""
    for keyword in _DEMANDED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def without_patient(dataset: Any) -> None:
    """Empty what identifies the patient and the examination; UIDs stay, which link the object to its images."""
    for keyword in _DEMANDED:
        setattr(dataset, keyword, "")
    for keyword in _OPTIONAL:
        if keyword in dataset:
            delattr(dataset, keyword)
