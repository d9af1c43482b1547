import Foundation
@preconcurrency import Photos
import RIDCore

/// Adds files to the user's photo library, as they are.
enum PhotoLibrary {
    /// - Parameter file: HEIC, JPEG or PNG; copied, byte for byte.
    /// - Throws: `RIDError.permissionDenied` or `.photoNotWritten`.
    static func add(_ file: URL) async throws {
        let status = await PHPhotoLibrary.requestAuthorization(for: .addOnly)
        guard status == .authorized || status == .limited else {
            throw RIDError.permissionDenied("Adding to the photo library")
        }
        do {
            try await PHPhotoLibrary.shared().performChanges {
                PHAssetCreationRequest.forAsset().addResource(
                    with: .photo, fileURL: file, options: nil)
            }
        } catch {
            throw RIDError.photoNotWritten(error.localizedDescription)
        }
    }
}
