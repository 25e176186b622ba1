//! The standard forms: what a task and an adapter agree on. A form fixes the names, roles, element
//! types and units of targets and predictions, and has a version in its name. Pixels are those of the
//! upright original image.
//!
//! | form | targets | predictions | [`LabelSpec::extra`] |
//! |---|---|---|---|
//! | [`classification`] | `class_distribution` | `class_scores` | `multi_label`, `class_counts` |
//! | [`detection`] | `boxes`, `class_labels` | `boxes`, `class_labels`, `scores` | |
//! | [`semantic_segmentation`] | `label_map` | `label_map`, `class_scores` | `colours` |
//! | [`instance_segmentation`] | `masks`, `boxes`, `class_labels` | `masks`, `class_labels`, `scores` | |
//! | [`panoptic_segmentation`] | `segment_map`, `segment_labels` | the same and `segment_scores` | `isthing`, `colours` |
//! | [`keypoints`] | `keypoints`, `boxes`, `areas` | `keypoints`, `boxes`, `scores` | [`keypoints::Skeleton`] |
//! | [`depth`] | `depth` | `depth` | |
//!
//! Each module has the form's name, its field names, and builders that give the right roles and types.
//!
//! [`LabelSpec::extra`]: crate::data::LabelSpec::extra

pub mod classification;
pub mod depth;
pub mod detection;
pub mod instance_segmentation;
pub mod keypoints;
pub mod panoptic_segmentation;
pub mod semantic_segmentation;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Role;

    #[test]
    fn forms_have_a_name_and_a_version_and_no_two_are_alike() {
        let forms = [
            classification::FORM,
            detection::FORM,
            semantic_segmentation::FORM,
            instance_segmentation::FORM,
            panoptic_segmentation::FORM,
            keypoints::FORM,
            depth::FORM,
        ];
        for (at, form) in forms.iter().enumerate() {
            let (name, version) = form.split_once('/').unwrap();
            assert!(!name.is_empty() && version.parse::<u32>().is_ok(), "{form}");
            assert!(!forms[..at].contains(form), "{form}");
        }
    }

    #[test]
    fn builders_give_the_roles_of_their_forms() {
        let targets = detection::targets(&[[1.0, 2.0, 3.0, 4.0]], &[7]);
        assert_eq!(targets.field(detection::BOXES).unwrap().role, Role::BOXES);
        let labels = targets.require(detection::CLASS_LABELS).unwrap();
        assert_eq!(labels.values::<i64>().unwrap(), [7]);
        let found = detection::predictions(&[[0.0; 4]], &[1], &[0.5]);
        assert_eq!(
            found.require(detection::SCORES).unwrap().values::<f32>().unwrap(),
            [0.5]
        );
        let map = semantic_segmentation::targets(2, 1, &[0, 255], 255).unwrap();
        let map = map.field(semantic_segmentation::LABEL_MAP).unwrap();
        assert_eq!(
            (map.role, map.fill, map.array.dims()),
            (Role::LABEL_MAP, 255.0, &[1, 2][..])
        );
        let masks = instance_segmentation::predictions([4, 5], &["0"], &[2], &[0.9]);
        let masks = masks.field(instance_segmentation::MASKS).unwrap();
        assert_eq!(
            (masks.role, masks.mask_size().unwrap()),
            (Role::RUN_LENGTHS, [4, 5])
        );
        let depth = depth::targets(1, 2, &[1.5, 0.0], 0.0).unwrap();
        assert_eq!(depth.field(depth::DEPTH).unwrap().role, Role::DENSE_MAP);
        let panoptic = panoptic_segmentation::targets(2, 1, &[0, -1], &[3]).unwrap();
        assert_eq!(
            panoptic.field(panoptic_segmentation::SEGMENT_MAP).unwrap().fill,
            -1.0
        );
        let scores = classification::predictions(&[0.25, 0.75]);
        assert_eq!(
            scores.field(classification::CLASS_SCORES).unwrap().role,
            Role::DISTRIBUTION
        );
    }

    #[test]
    fn a_skeleton_survives_its_json_and_mirrors_left_and_right() {
        let skeleton = keypoints::Skeleton {
            names: vec!["nose".into(), "left_eye".into(), "right_eye".into()],
            sigmas: vec![0.026, 0.025, 0.025],
            edges: vec![[0, 1], [0, 2]],
            mirror: vec![0, 2, 1],
        };
        assert_eq!(
            keypoints::Skeleton::from_json(&skeleton.to_json()).unwrap(),
            skeleton
        );
        let fields = keypoints::targets(&[vec![[1.0, 2.0, 2.0]; 3]], &[[0.0; 4]], &[9.0], &skeleton).unwrap();
        let field = fields.field(keypoints::KEYPOINTS).unwrap();
        assert_eq!(
            (field.array.dims(), field.mirror.as_slice()),
            (&[1, 3, 3][..], &[0, 2, 1][..])
        );
        assert!(keypoints::targets(&[vec![[0.0; 3]]], &[[0.0; 4]], &[1.0], &skeleton).is_err());
    }
}
