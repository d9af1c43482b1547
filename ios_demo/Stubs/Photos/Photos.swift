// Stand-in, not Apple's: signatures to type-check against. Nothing here has a photo library.
@_exported import Foundation

public enum PHAccessLevel: Sendable { case addOnly, readWrite }
public enum PHAuthorizationStatus: Sendable {
    case notDetermined, restricted, denied, authorized, limited
}
public enum PHAssetResourceType: Sendable { case photo, video }
public final class PHAssetResourceCreationOptions {}

public final class PHPhotoLibrary: @unchecked Sendable {
    public static func requestAuthorization(
        for level: PHAccessLevel
    ) async -> PHAuthorizationStatus {
        .denied
    }
    public static func shared() -> PHPhotoLibrary { PHPhotoLibrary() }
    public func performChanges(_ changes: @escaping @Sendable () -> Void) async throws {}
}
public final class PHAssetCreationRequest {
    public static func forAsset() -> PHAssetCreationRequest { PHAssetCreationRequest() }
    public func addResource(
        with type: PHAssetResourceType, fileURL: URL, options: PHAssetResourceCreationOptions?
    ) {}
}
