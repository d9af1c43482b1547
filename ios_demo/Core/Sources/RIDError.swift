import Foundation

/// Everything that the user, or the app's developer, can fix; `errorDescription` says how.
public enum RIDError: Error, Equatable, Sendable {
    /// A bound or strength out of range.
    case invalidBudget(String)
    /// Pixels, perturbation or tile of the wrong size.
    case wrongSize(String)
    /// Shorter side under `PhotoLimits.minimumSide`.
    case photoTooSmall(width: Int, height: Int)
    /// More than `PhotoLimits.maximumAspect` times as long as wide.
    case photoTooLong(width: Int, height: Int)
    /// Protecting would need more bytes than this process may still take.
    case notEnoughMemory(megapixels: Double, neededBytes: Int, availableBytes: Int)
    /// Not a photo, damaged, or of a kind that cannot be protected.
    case photoUnreadable(String)
    /// The result could not be stored.
    case photoNotWritten(String)
    /// The network returned something else than a perturbation (NaN, or of another size).
    case notAPerturbation(engine: String)
    /// A value would change by more than the bound. Never seen; a promise is also checked.
    case boundBroken(change: Int, levels: Int)
    /// The app was built without a model.
    case modelMissing(String)
    /// The model file is not what was exported.
    case modelDamaged(String)
    /// A sound model that this version cannot use.
    case modelUnsupported(String)
    /// No compute unit could run the model.
    case engineFailed(String)
    /// The user, or a profile on the phone, forbids it.
    case permissionDenied(String)
    /// There is no camera, or it is in use.
    case cameraUnavailable(String)
}

extension RIDError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .invalidBudget(let text), .wrongSize(let text):
            return text
        case .photoTooSmall(let width, let height):
            return "This photo has \(width) x \(height) pixels. Under \(PhotoLimits.minimumSide) "
                + "there is no room for a perturbation that protects."
        case .photoTooLong(let width, let height):
            return "\(width) x \(height) is more than \(PhotoLimits.maximumAspect) times as long "
                + "as wide. Cut it into pieces first."
        case .notEnoughMemory(let megapixels, let needed, let available):
            return "\(Int(megapixels.rounded())) megapixels need \(Self.megabytes(needed)) of "
                + "memory, and \(Self.megabytes(available)) are free. Close other apps, or scale "
                + "the photo down first."
        case .photoUnreadable(let reason):
            return "This photo cannot be read: \(reason)."
        case .photoNotWritten(let reason):
            return "The protected photo was not saved: \(reason). The original is untouched."
        case .notAPerturbation(let engine):
            return "The model gave no usable perturbation on \(engine). Nothing was changed."
        case .boundBroken(let change, let levels):
            return "A colour value would change by \(change) levels, more than \(levels). "
                + "Nothing was saved."
        case .modelMissing(let name):
            return "The app holds no model called \(name). "
                + "ios_demo/README.md says how to put one in."
        case .modelDamaged(let reason):
            return "The model file is damaged: \(reason). Install the app again."
        case .modelUnsupported(let reason):
            return "This model does not fit the app: \(reason)."
        case .engineFailed(let reason):
            return "The model cannot run on this device: \(reason)."
        case .permissionDenied(let what):
            return "\(what) is not allowed. Allow it under Settings > Privacy & Security."
        case .cameraUnavailable(let reason):
            return "The camera cannot be used: \(reason)."
        }
    }

    private static func megabytes(_ bytes: Int) -> String {
        "\(max(bytes, 0) / 1_000_000) MB"
    }
}
