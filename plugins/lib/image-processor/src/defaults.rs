//! What a missing key of `preprocessor_config.json` means, by image processor.

use crate::resize::Resample;
use crate::size::Size;

/// The longest edge that a number as `size` came with, in files of detectors that are older than `longest_edge`.
const OLD_LONGEST: u32 = 1333;
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
const HALVES: [f64; 3] = [0.5; 3];
const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// What a `size` without a longest edge means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShortestEdge {
    /// The longest edge is this.
    Bounded(u32),
    /// There is no longest edge.
    Unbounded,
    /// ConvNeXT's rule, with this `crop_pct` where the file has none; see [`Size::ConvNext`].
    ConvNext(f64),
}

/// What a missing key means for a model family. Where the file names an image processor that is known here, that one's
/// defaults count instead, so that a family's checkpoint may come with another's processor.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// What is saved as `image_processor_type` where the file has none, such as `DetrImageProcessor`.
    pub processor_type: &'static str,
    pub size: Size,
    /// A `size` that is one number is the shortest edge; with `false` it is both height and width.
    pub number_is_shortest_edge: bool,
    pub shortest_edge: ShortestEdge,
    /// Prompts found from a shortest edge are floored to a multiple of this: 16 for YOLOS, 1 for none.
    pub multiple: u32,
    /// Resized sides are rounded up to a multiple of the file's `size_divisor`, or of this where it has none. `None`: there is
    /// no such rule, and the key means nothing.
    pub size_divisor: Option<u32>,
    /// Height and width that are cut out of the middle after resizing.
    pub center_crop: Option<[u32; 2]>,
    pub resample: Resample,
    pub do_normalize: bool,
    pub do_pad: bool,
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// Whether all of an image must stay in view, as its boxes do: a crop is refused. One number as the user's
    /// `data.image_size` is then the shortest edge where [`Defaults::number_is_shortest_edge`], else both height and width.
    /// Always the family's.
    pub whole_image: bool,
}

impl Defaults {
    /// Shortest edge 800 and longest 1333, bilinear, ImageNet's mean and deviation, padded: DETR and its relatives.
    pub const fn shortest_edge(processor_type: &'static str) -> Self {
        Defaults {
            processor_type,
            size: Size::Edges {
                shortest: 800,
                longest: OLD_LONGEST,
            },
            number_is_shortest_edge: true,
            shortest_edge: ShortestEdge::Bounded(OLD_LONGEST),
            multiple: 1,
            size_divisor: None,
            center_crop: None,
            resample: Resample::Bilinear,
            do_normalize: true,
            do_pad: true,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            whole_image: true,
        }
    }

    /// 224×224 whatever the aspect ratio, bilinear, to -1..1: ViT and many classifiers after it.
    pub const fn vit() -> Self {
        Defaults {
            processor_type: "ViTImageProcessor",
            size: Size::Exact {
                height: 224,
                width: 224,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            center_crop: None,
            do_pad: false,
            mean: HALVES,
            std: HALVES,
            whole_image: false,
            ..Self::shortest_edge("")
        }
    }

    /// 256×256, of which the inner 224×224, bicubic: DeiT.
    pub const fn deit() -> Self {
        Defaults {
            processor_type: "DeiTImageProcessor",
            size: Size::Exact {
                height: 256,
                width: 256,
            },
            center_crop: Some([224, 224]),
            resample: Resample::Bicubic,
            ..Self::vit()
        }
    }

    /// ConvNeXT's rule for 384, bicubic: ConvNeXT, and ResNet among others.
    pub const fn conv_next() -> Self {
        const CROP_PCT: f64 = 224.0 / 256.0;
        Defaults {
            processor_type: "ConvNextImageProcessor",
            size: Size::ConvNext {
                edge: 384,
                crop_pct: CROP_PCT,
            },
            number_is_shortest_edge: true,
            shortest_edge: ShortestEdge::ConvNext(CROP_PCT),
            resample: Resample::Bicubic,
            ..Self::vit()
        }
    }

    /// The shortest edge 224, of which the inner 224×224, bicubic, CLIP's mean and deviation: BiT and, with other sizes in its
    /// files, DINOv2.
    pub const fn bit() -> Self {
        Defaults {
            processor_type: "BitImageProcessor",
            size: Size::Shortest { edge: 224 },
            number_is_shortest_edge: true,
            center_crop: Some([224, 224]),
            resample: Resample::Bicubic,
            mean: CLIP_MEAN,
            std: CLIP_STD,
            ..Self::vit()
        }
    }

    /// 640×640 whatever the aspect ratio, bilinear, neither normalised nor padded: RT-DETR and D-FINE.
    pub const fn rt_detr() -> Self {
        Defaults {
            processor_type: "RTDetrImageProcessor",
            size: Size::Exact {
                height: 640,
                width: 640,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            do_normalize: false,
            do_pad: false,
            ..Self::shortest_edge("")
        }
    }

    /// 512×512 whatever the aspect ratio, bilinear, ImageNet's mean and deviation: SegFormer, and UPerNet among others.
    pub const fn segformer() -> Self {
        Defaults {
            processor_type: "SegformerImageProcessor",
            size: Size::Exact {
                height: 512,
                width: 512,
            },
            number_is_shortest_edge: false,
            shortest_edge: ShortestEdge::Unbounded,
            do_pad: false,
            ..Self::shortest_edge("")
        }
    }

    /// DETR's rule, then both sides rounded up to a multiple of 32: Mask2Former, and MaskFormer under its name.
    pub const fn mask2former() -> Self {
        Defaults {
            size_divisor: Some(32),
            ..Self::shortest_edge("Mask2FormerImageProcessor")
        }
    }

    /// 256×192 around a box, see [`crate::PoseProcessor`], ImageNet's mean and deviation: ViTPose.
    pub const fn vit_pose() -> Self {
        Defaults {
            processor_type: "VitPoseImageProcessor",
            size: Size::Exact {
                height: 256,
                width: 192,
            },
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
            ..Self::vit()
        }
    }

    /// The defaults of an image processor by its `image_processor_type`, for a family whose own ones are `family`.
    pub(crate) fn of(processor_type: &str, family: &Defaults) -> Defaults {
        let known = match processor_type.trim_end_matches("Fast").trim_end_matches("Pil") {
            "DetrImageProcessor" | "ConditionalDetrImageProcessor" | "DeformableDetrImageProcessor" => {
                Self::shortest_edge("DetrImageProcessor")
            }
            "YolosImageProcessor" => Defaults {
                multiple: 16,
                ..Self::shortest_edge("YolosImageProcessor")
            },
            "ViTImageProcessor" => Self::vit(),
            "DeiTImageProcessor" => Self::deit(),
            "ConvNextImageProcessor" => Self::conv_next(),
            "BitImageProcessor" => Self::bit(),
            "RTDetrImageProcessor" => Self::rt_detr(),
            "SegformerImageProcessor" => Self::segformer(),
            "Mask2FormerImageProcessor" | "MaskFormerImageProcessor" => Self::mask2former(),
            "VitPoseImageProcessor" => Self::vit_pose(),
            _ => return family.clone(),
        };
        Defaults {
            whole_image: family.whole_image,
            ..known
        }
    }
}
